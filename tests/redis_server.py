"""A Redis server of a test's own, which it may fill up, stop and kill."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NotYet

from tests.ports import free_ports


class RedisServer:
    """Run redis-server on a free port with data in a folder; ``options`` as on its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
        self.port = free_ports()
        base = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self.process = subprocess.Popen([program, *base, *options], stdout=subprocess.DEVNULL)

    @property
    def url(self) -> str:
        """Return the URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    @contextmanager
    def client(self, **options: str) -> Generator[Redis, None, None]:
        """Open a client of the test's own."""
        with Redis(port=self.port, **options) as client:  # type: ignore[arg-type]
            yield client

    def wait(self, **options: str) -> None:
        """Wait until it answers."""
        until = time.monotonic() + 10
        while True:
            try:
                with self.client(**options) as client:
                    client.ping()
                return
            except NotYet:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def kill(self) -> None:
        """Kill it and wait until it is gone."""
        self.process.kill()
        self.process.wait()


@contextmanager
def redis_server(folder: Path, *options: str, **login: str) -> Iterator[RedisServer]:
    """Run a server as long as the context lasts; ``login`` is what a client needs to get in."""
    server = RedisServer(folder, *options)
    try:
        server.wait(**login)
        yield server
    finally:
        server.kill()
