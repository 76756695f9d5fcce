"""Processes of a run: started, killed and asked to end by their ids, with their output in files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

__all__ = ["ROOT", "Child", "wait_until"]

ROOT = Path(__file__).parents[2]


def wait_until(condition: Callable[[], object], *, seconds: float, what: str, every: float = 0.02) -> float:
    """Wait until a condition holds and return how long it took; fail with what was waited for."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(every)
    return time.monotonic() - began


class Child:
    """A Python process of the project, in a process group of its own."""

    def __init__(self, name: str, *arguments: str, env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}-{time.monotonic_ns()}.log"
        self._folder = folder
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-u", *arguments],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """Return what it has said."""
        return self.log.read_text(errors="replace")

    def has_come_to(self, *points: str) -> bool:
        """Tell whether it has come to one of these points of its work, see ``faults.at``; fail if it has ended."""
        if self.code is not None:
            raise AssertionError(f"{self.name} ended with {self.code}:\n{self.output()[-3000:]}")
        return any((self._folder / f"{point}-{self.pid}").exists() for point in points)

    def kill(self) -> None:
        """Kill it, and no other, as the kernel does when memory is short."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send it a signal, or its whole group, as a terminal does."""
        if group:
            os.killpg(self.pid, number)
        else:
            self._process.send_signal(number)

    def finish(self, *, seconds: float) -> tuple[int, float]:
        """Wait for its end and return exit code and seconds."""
        began = time.monotonic()
        try:
            return self._process.wait(seconds), time.monotonic() - began
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end in {seconds} s:\n{self.output()[-3000:]}") from None

    def terminate(self, *, seconds: float = 10) -> tuple[int, float]:
        """Ask it to end, once it can hear that; return exit code and seconds."""
        wait_until(self._hears, seconds=seconds, what=f"that {self.name} handles SIGTERM")
        self.signal(signal.SIGTERM)
        return self.finish(seconds=seconds)

    def _hears(self) -> bool:
        """Tell whether SIGTERM is handled: while a process begins, it would just die of it."""
        if self.code is not None:
            return True
        status = Path(f"/proc/{self.pid}/status").read_text()
        (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)

    def clear(self) -> None:
        """End it and whatever it has left behind in its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
