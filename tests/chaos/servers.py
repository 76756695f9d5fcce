"""Servers of a test's own, run by scripts/services on free ports, so that they may be stopped and killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.children import ROOT
from tests.ports import free_ports

__all__ = ["Servers", "private_servers"]


class Servers:
    """Servers in a folder that belongs to a test."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._names = names
        ports = {f"CQRS_{name.upper()}_PORT": str(free_ports()) for name in names}
        self._env = {**os.environ, "CQRS_SERVICES_HOME": str(folder), **ports}

    def do(self, what: str, *names: str) -> str:
        """Start, stop, kill, pause or resume them."""
        command = [sys.executable, str(ROOT / "scripts" / "services"), what, *(names or self._names)]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == 3:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def url(self, name: str) -> str:
        """Return where a server is."""
        lines = dict(line.split("=", 1) for line in self.do("env").splitlines())
        return lines[f"CQRS_TEST_{name.upper()}"]


@contextmanager
def private_servers(*names: str, prepare: Callable[[Path], object] = lambda folder: None) -> Iterator[Servers]:
    """Run servers as long as the context lasts; their folder may be prepared, each finds its own by its name there."""
    folder = Path(tempfile.mkdtemp(prefix="cqrs-chaos-"))
    folder.chmod(0o755)  # a server's own user must get in
    servers = Servers(folder, names)
    try:
        prepare(folder)
        servers.do("start")
        yield servers
    finally:
        servers.do("stop")
        shutil.rmtree(folder, ignore_errors=True)
