"""The operations page as Chromium shows it: in light and dark, on a phone, under a strict Content-Security-Policy."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from attrs import frozen
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.utils import timezone

from django_cqrs.consumers import consumers
from django_cqrs.loops import make_loop, run
from django_cqrs.models import Action, Dead
from django_cqrs.tallies import Entry, add, minute_of
from django_cqrs.workers import Beat, beat
from simplecqrs import NotificationEvent, Publish, Retry
from tests.desk.bookings import Trips
from tests.desk.project import Project
from tests.desk.staff import staff

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("committed")]

#: Nothing but files of the site itself: no inline script, style or style attribute.
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'"
OPERATIONS = "/admin/django_cqrs/operations/"
LONG = "a-key-that-somebody-has-made-of-everything-" * 4
BROKEN = threading.Event()


@frozen
class Sent(NotificationEvent, topic="mails", key="who"):
    """For everybody."""

    who: str


def send(event: Sent, publish: Publish) -> None:
    """Fail until it is mended."""
    if BROKEN.is_set():
        raise ConnectionError(f"the mail server {'mail' if len(event.who) < 10 else 'backup'}.example does not answer")


class Server(ThreadingMixIn, WSGIServer):
    """A thread for each request."""

    daemon_threads = True
    allow_reuse_address = True


class Quiet(WSGIRequestHandler):
    """Say nothing of what is asked."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def strict(app: Any) -> Callable[[Any, Any], Any]:
    """Send the policy with every answer."""

    def answer(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, ("Content-Security-Policy", POLICY)], *rest)

        if environ["PATH_INFO"] == "/favicon.ico":
            start("204 No Content", [])
            return []
        return app(environ, start)

    return answer


@pytest.fixture
def site(unblocked: None) -> Iterator[str]:
    """Serve the tests' site, its static files included."""
    with make_server("127.0.0.1", 0, strict(StaticFilesHandler(WSGIHandler())), Server, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def full(project: Project, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project in which something of everything is to be seen."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright has a loop in this thread, and we wait for it
    file = {"BACKEND": "tests.desk.brokers.FileBroker", "OPTIONS": {"path": "/dev/null"}}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS, "BROKERS": {"streams": file, "backup": file},
        "ROUTES": {"shop.*": ["streams"], "bank.payments.*": ["streams", "backup"]},
    }  # fmt: skip
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    BROKEN.set()
    trips = Trips(project)
    project.consume(Sent, consumer="mailing", work=send, retry=Retry(1))
    for who in ("ada", "bob", "eve", LONG):
        project.publish(Sent(who), Sent(who), Sent(who))
    project.ship()
    project.work("mailing")
    project.publish(Sent("zoe"))
    trips.run()
    trips.broken["postcard"] = OSError("no stamps")
    trips.run()
    tell()
    return project


def tell() -> None:
    """Let there have been an hour of work, and somebody who does it."""
    now = minute_of(timezone.now())
    add("default", {now - timedelta(minutes=m): [Entry("outbox", "streams", "published", 900 + m * m % 700, 700.0, 4.0),
        Entry("inbox", "mailing", "handled", 40 * (m % 17), 9000.0, 40.0)] for m in range(60)})  # fmt: skip
    beat("default", [Beat(job="relay streams", box="outbox", queue="streams", trouble="BrokerDown: no route to host"),
        Beat(job="relay database", box="outbox", queue="database"),
        Beat(job="consumer mailing", box="inbox", queue="mailing", age=12.5)], pid=4711)  # fmt: skip


@pytest.fixture
def user(chromium: Browser, site: str, full: Project) -> Iterator[Page]:
    """Return the page of a superuser, who hears of all that the browser complains of."""
    client = staff(is_superuser=True)
    context = chromium.new_context(base_url=site)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": site}])
    page = context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    yield page
    context.close()
    assert complaints == []


def picture(page: Page, name: str) -> None:
    """Keep a picture for who wants to look at it."""
    if folder := os.environ.get("CQRS_TEST_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def contrasts(page: Page) -> list[float]:
    """Return how well texts stand out from what is behind them, as WCAG counts it."""
    found: list[float] = page.evaluate(
        """() => {
        const light = colour => {
            const parts = colour.match(/[0-9.]+/g).slice(0, 3).map(one => one / 255)
                .map(one => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
        };
        const behind = box => {
            while (box && /rgba\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(box).backgroundColor))
                box = box.parentElement;
            return box ? getComputedStyle(box).backgroundColor : "rgb(255, 255, 255)";
        };
        return [...document.querySelectorAll("#content-main :is(td, th, li, p, a, h2, b, span, button, label)")]
            .filter(box => box.offsetWidth && box.textContent.trim()).map(box => {
                const pair = [light(getComputedStyle(box).color), light(behind(box))].sort((a, b) => b - a);
                return (pair[0] + 0.05) / (pair[1] + 0.05);
            });
    }"""
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_by_day_and_by_night(user: Page, scheme: Any) -> None:
    """In the admin's own colours, which follow those of the system."""
    user.emulate_media(color_scheme=scheme)
    user.set_viewport_size({"width": 1280, "height": 900})
    user.goto(OPERATIONS)

    picture(user, f"operations-{scheme}")
    found = contrasts(user)

    assert len(found) > 50
    assert min(found) >= 4.0
    assert user.locator("svg.cqrs-spark").count() == 2
    assert user.locator("#content-main").evaluate("box => box.scrollWidth <= box.clientWidth")


def test_it_fits_a_phone(user: Page) -> None:
    """Tables scroll in their boxes; the page itself does not move sideways."""
    user.set_viewport_size({"width": 360, "height": 740})
    for name, address in (("operations", OPERATIONS), ("causes", "/admin/django_cqrs/dead/causes/")):
        user.goto(address)
        picture(user, f"{name}-phone")

        assert user.evaluate("document.documentElement.scrollWidth") <= 360
    user.locator("td a", has_text="backup.example").click()
    user.locator("#cqrs-reason").wait_for()
    picture(user, "cause-phone")
    assert user.evaluate("document.documentElement.scrollWidth") <= 360
    user.goto(OPERATIONS)
    user.locator("#cqrs-sagas ~ .cqrs-wide a").click()
    box = user.locator(".field-picture svg").bounding_box()
    picture(user, "saga-phone")
    assert box is not None
    assert 100 < box["width"] < 360


def test_a_cause_is_retried_by_hand(user: Page, full: Project) -> None:
    """From the page to the letters that died of it, with a reason, to what became of them."""
    stop = threading.Event()
    BROKEN.clear()
    worker = threading.Thread(target=work, args=(stop,))
    worker.start()
    user.goto(OPERATIONS)
    user.locator("#cqrs-dead ~ .cqrs-wide a", has_text="mail.example").click()
    picture(user, "cause")
    user.get_by_label("Reason").fill("the mail server is back")
    user.get_by_role("button", name="Retry with care").click()
    said = user.locator(".messagelist").inner_text()
    picture(user, "causes")
    stop.set()
    worker.join()

    assert said == "3 of 3 went well; none is left"
    assert [letter.key for letter in Dead.objects.all()] == [LONG]
    assert {(one.act, one.who, one.reason) for one in Action.objects.all()} == {
        ("retry", "ada", "the mail server is back")
    }
    assert re.search(r"\b1\b.*backup\.example", user.locator("#content-main tbody").inner_text())


def work(stop: threading.Event) -> None:
    """Run the consumer, as a daemon would."""
    try:
        run(make_loop(consumers("mailing"), stop))
    finally:
        connections.close_all()
