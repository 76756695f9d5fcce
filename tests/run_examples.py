"""Run scripts, each in a process of its own that is forked from one that has imported what they share."""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import traceback
from typing import IO, Any

import attrs  # noqa: F401
import cattrs  # noqa: F401
import django.test  # noqa: F401
from django.core import management  # noqa: F401

import simplecqrs.middlewares.retries  # noqa: F401
from simplecqrs import load  # noqa: F401


def run(script: str) -> dict[str, Any]:
    """Run a script and return what it wrote, and whether it ended well."""
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        child = os.fork()
        if child == 0:
            _become(script, said, complained)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        complained.seek(0)
        return {"output": said.read(), "errors": complained.read(), "ok": status == 0}


def _become(script: str, said: IO[str], complained: IO[str]) -> None:
    os.dup2(said.fileno(), 1)
    os.dup2(complained.fileno(), 2)
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


if __name__ == "__main__":
    print(json.dumps({script: run(script) for script in sys.argv[1:]}))
