"""A gunicorn that serves the office, and a Chromium that looks at it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from attrs import frozen

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0
FLAGS = (
    "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip


@frozen
class Office:
    """Where the site is, and what it says of itself."""

    url: str

    def status(self) -> dict[str, int]:
        """Ask what is open."""
        return cast("dict[str, int]", self._ask("status"))

    def stored(self, batch: str) -> list[int]:
        """Ask what an import has stored."""
        return cast("list[int]", self._ask("stored", batch=batch))

    def _ask(self, path: str, **asked: object) -> object:
        with urlopen(self.page(path, **asked), timeout=PATIENCE) as response:
            return json.load(response)

    def page(self, path: str = "", **asked: object) -> str:
        """Return the address of a page."""
        return f"{self.url}/{path}?{urlencode(asked)}"

    def wait_until_released(self) -> None:
        """Wait until every stream is closed and every database connection is shut."""
        ends = time.monotonic() + PATIENCE
        pause = threading.Event()
        while (found := self.status())["closed"] != found["begun"] or found["connections"]:
            assert time.monotonic() < ends, found
            pause.wait(0.02)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """Serve the office by gunicorn: one process, four threads."""
    command = [
        sys.executable, "-m", "gunicorn", "tests.browser.office.wsgi", "--bind", "127.0.0.1:0", "--workers", "1",
        "--worker-class", "gthread", "--threads", "4", "--graceful-timeout", "5", "--no-control-socket",
    ]  # fmt: skip
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.browser.office.settings",
        "OFFICE_FOLDER": str(tmp_path_factory.mktemp("office")),
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    urls: Queue[str] = Queue()
    listener = threading.Thread(target=_listen, args=(process, said, urls))
    listener.start()
    try:
        yield Office(urls.get(timeout=PATIENCE))
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join()
        print("".join(said))
        assert process.stdout is not None
        process.stdout.close()


def _listen(process: subprocess.Popen[str], said: list[str], urls: Queue[str]) -> None:
    """Read what gunicorn says: its address is that of a port that the kernel has chosen."""
    for line in process.stdout or ():
        said.append(line)
        if found := re.search(r"Listening at: (http://\S+)", line):
            urls.put(found[1])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start Chromium."""
    program = os.environ.get("CQRS_TEST_CHROMIUM")
    if not program:
        pytest.skip("needs Chromium: scripts/services start chromium, and CQRS_TEST_CHROMIUM from scripts/services env")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Open an empty page."""
    page = chromium.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    yield page
    page.close()
