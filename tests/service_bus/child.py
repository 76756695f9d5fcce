"""The peer in a process of its own, which a test may stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.service_bus.peer import connection_string

ROOT = Path(__file__).resolve().parents[2]


class Child:
    """A peer that runs elsewhere; see ``__main__`` for what it can be told."""

    def __init__(self, *on_demand: str, lock_seconds: float = 30.0) -> None:
        command = [sys.executable, "-m", "tests.service_bus", str(lock_seconds), *on_demand]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
        self.port = int(self._hear())

    @property
    def url(self) -> str:
        """Return the connection string."""
        return connection_string(self.port, "s3cret")

    def tell(self, *words: str) -> None:
        """Give a command and wait until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        while self._hear() != "done":
            pass

    def pause(self) -> None:
        """Stop it, so that it holds its connections and says nothing."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # returns when it has stopped

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Kill it and wait until it is gone."""
        self._process.kill()
        self._process.communicate()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the peer has died"
        return line


@contextmanager
def service_bus_process(*on_demand: str, lock_seconds: float = 30.0) -> Generator[Child, None, None]:
    """Run a peer in a process of its own, as long as the context lasts; see ``Peer.on_demand``."""
    child = Child(*on_demand, lock_seconds=lock_seconds)
    try:
        yield child
    finally:
        child.end()
