"""Server-sent events as Chromium's EventSource gets them from gunicorn's threads."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Office

pytestmark = pytest.mark.browser
TWENTY = list(range(1, 21))


def wait_until(page: Page, state: str) -> None:
    """Wait until a page says so of its import, or that it has failed."""
    page.locator("#state", has_text=re.compile(f"^({state}|failed)$")).wait_for()
    assert page.locator("#state").text_content() == state, page.evaluate("seen")


def test_a_page_shows_a_long_import_and_its_end(page: Page, office: Office) -> None:
    """Each item as soon as it is stored, and text of two lines in one piece."""
    page.goto(office.page(batch="whole", pace=0.03))
    page.locator("li").nth(2).wait_for()
    halfway = len(office.stored("whole"))
    wait_until(page, "complete")

    assert 3 <= halfway < 20
    assert page.evaluate("seen.ids") == TWENTY
    assert page.evaluate("seen.starts") == [{"total": 20, "after": 0}]
    assert page.evaluate("seen.complete") == {"items": 20}
    assert page.locator("li").last.text_content() == "person 20\nof whole"
    assert office.stored("whole") == TWENTY


def test_closing_the_page_in_the_middle_releases_everything(page: Page, office: Office) -> None:
    """The handler's ``finally`` runs, its database connection is shut, and nothing more is imported."""
    page.goto(office.page(batch="left", pace=0.03, total=100_000))
    page.locator("li").nth(2).wait_for()
    during = office.status()
    page.close()
    office.wait_until_released()
    stored = office.stored("left")

    assert during["begun"] == during["closed"] + 1
    assert during["connections"] == 1
    assert 3 <= len(stored) < 1000
    assert office.stored("left") == stored


def test_leaving_while_an_item_is_slow_releases_everything_after_it(page: Page, office: Office) -> None:
    """A heartbeat tells the server; the handler cannot be stopped before its item is done."""
    page.goto(office.page(batch="slow", pace=0.5, total=100_000))
    page.locator("li").nth(0).wait_for()
    page.close()
    office.wait_until_released()

    assert len(office.stored("slow")) <= 3


def test_a_browser_that_is_cut_off_goes_on_where_it_was(page: Page, office: Office) -> None:
    """It sends the last id; each item comes once, and is stored once, though the server ended every response early."""
    before = office.status()["begun"]

    page.goto(office.page(batch="resumed", pace=0.02, max_seconds=0.1))
    wait_until(page, "complete")

    starts = [start["after"] for start in page.evaluate("seen.starts")]
    assert len(starts) > 2
    assert starts == sorted(set(starts))
    assert page.evaluate("seen.ids") == TWENTY
    assert office.stored("resumed") == TWENTY
    assert office.status()["begun"] - before == len(starts)


def test_a_browser_that_is_cut_off_after_the_last_item_still_sees_the_end(page: Page, office: Office) -> None:
    """Here it is cut off after each: the end has an id of its own, so it is known that this one has not been seen."""
    page.goto(office.page(batch="slices", pace=0, total=3, max_seconds=0.000001))
    wait_until(page, "complete")

    assert [start["after"] for start in page.evaluate("seen.starts")] == [0, 1, 2, 3]
    assert page.evaluate("seen.ids") == [1, 2, 3]
    assert page.evaluate("seen.complete") == {"items": 3}


def test_a_page_that_forgets_to_close_is_stopped_by_204(page: Page, office: Office) -> None:
    """It connects again with the last id, and there is nothing after that."""
    before = office.status()["begun"]

    page.goto(office.page(batch="forgetful", pace=0, forgetful=1))
    wait_until(page, "stopped")

    assert page.evaluate("seen.ids") == TWENTY
    assert office.status()["begun"] - before == 1


def test_a_page_learns_of_a_failure_but_not_of_its_reason(page: Page, office: Office) -> None:
    """The event is told from the loss of the connection by its data."""
    page.goto(office.page(batch="failed", pace=0, fail_at=3))
    wait_until(page, "failed")

    assert page.evaluate("seen.ids") == [1, 2]
    assert page.evaluate("seen.failed") == '{"error":"failed"}'
    assert office.stored("failed") == [1, 2]


def test_comments_come_over_the_wire_while_an_item_is_slow(office: Office) -> None:
    """Browsers do not show them, so this reads what gunicorn sends."""
    url = urlsplit(office.page("progress", batch="comments", pace=0.5, total=1))

    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as client:
        client.sendall(f"GET {url.path}?{url.query} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(4096), b""))

    start, _, rest = answer.partition(b"event: start")
    assert b"Content-Type: text/event-stream" in start
    assert rest.partition(b"event: progress")[0].count(b"\n:\n\n") >= 3
    assert rest.rstrip().endswith(b'data: {"items":1}')
