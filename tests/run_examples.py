"""Run scripts, each in a process of its own that is forked from one that has imported what they share."""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import traceback
from collections import deque
from pathlib import Path
from typing import IO, Any

import attrs  # noqa: F401
import cattrs  # noqa: F401
import django.test  # noqa: F401
from django.core import management  # noqa: F401

import simplecqrs.middlewares.retries  # noqa: F401
from simplecqrs import load  # noqa: F401

AT_A_TIME = 2


class Run:
    """A script that has been started."""

    def __init__(self, script: str) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when both are read
        self._complained = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._child = os.fork()
        if self._child == 0:
            _become(script, self._said, self._complained)

    def outcome(self) -> dict[str, Any]:
        """Wait for its end, and return what it wrote, and whether it ended well."""
        _, status = os.waitpid(self._child, 0)
        with self._said as said, self._complained as complained:
            said.seek(0)
            complained.seek(0)
            return {"output": said.read(), "errors": complained.read(), "ok": status == 0}


def _become(script: str, said: IO[str], complained: IO[str]) -> None:
    os.dup2(said.fileno(), 1)
    os.dup2(complained.fileno(), 2)
    sys.path.insert(0, str(Path(script).parent))  # as Python does, which runs a script
    status = 1
    try:
        runpy.run_path(script, run_name="__main__")
        status = 0
    except BaseException:  # noqa: BLE001 - the parent reports it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run_all(scripts: list[str]) -> dict[str, dict[str, Any]]:
    """Run scripts, a few at a time."""
    running: deque[tuple[str, Run]] = deque()
    outcomes = {}
    for script in scripts:
        running.append((script, Run(script)))
        if len(running) == AT_A_TIME:
            name, first = running.popleft()
            outcomes[name] = first.outcome()
    return {**outcomes, **{name: run.outcome() for name, run in running}}


if __name__ == "__main__":
    print(json.dumps(run_all(sys.argv[1:])))
