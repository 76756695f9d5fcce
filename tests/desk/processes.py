"""Management commands of the desk in processes of their own, on the databases of the test run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings

from tests.settings import RUN

__all__ = ["PATIENCE", "manage", "start", "until"]

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


@contextmanager
def manage(*arguments: str) -> Generator[subprocess.Popen[str], None, None]:
    """Run a management command with the setting DJANGO_CQRS of the test; at the end it is asked to stop."""
    process = start("-m", "django", *arguments)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            said = process.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == 0, said


def start(*arguments: str, stdin: int | None = None) -> subprocess.Popen[str]:
    """Start a Python process with the setting DJANGO_CQRS of the test."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", *arguments], cwd=ROOT, text=True, stdin=stdin, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, **_environment(settings.DJANGO_CQRS)},
    )  # fmt: skip


def _environment(setting: dict[str, Any]) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(ROOT),
        "CQRS_TEST_RUN": RUN,
        "CQRS_TEST_SETTING": json.dumps(setting),
    }


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, which other processes bring about."""
    ends = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < ends, "it did not become so"
        pause.wait(0.02)
