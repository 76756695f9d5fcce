"""The operations page of the admin: what it shows, to whom, and that nothing on it can hang or be injected."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from html import unescape
from typing import Any
from xml.etree import ElementTree

import pytest
from attrs import evolve, frozen
from django.contrib.admin import AdminSite
from django.test import Client
from django.urls import path
from django.utils import timezone

from django_cqrs.admin_operations import OperationsAdmin
from django_cqrs.models import Blocked, Dead, Operations, Saga, Size
from django_cqrs.promises import ASKED, promises
from django_cqrs.sparkline import sparkline
from django_cqrs.tallies import Entry, add, minute_of
from django_cqrs.workers import Beat, beat
from simplecqrs import NotificationEvent, Publish, Retry
from simplecqrs.errors import BrokerDown
from tests.desk.bookings import Trips
from tests.desk.project import Project
from tests.desk.staff import staff

pytestmark = pytest.mark.usefixtures("committed")

PAGE = "/admin/django_cqrs/operations/"
#: A site that has the page and nothing else.
OWN = AdminSite(name="own")
OWN.register(Operations, OperationsAdmin)
urlpatterns = [path("own/", OWN.urls)]
MARKUP = "<img src=x onerror=alert(1)>"


@frozen
class Sent(NotificationEvent, topic="mails", key="who"):
    """For everybody."""

    who: str


def failing(event: Sent, publish: Publish) -> None:
    """Fail always."""
    raise ConnectionError(f"no mail for {event.who}")


@pytest.fixture
def root() -> Client:
    """Log a superuser in."""
    return staff(is_superuser=True)


@pytest.fixture
def trips(project: Project) -> Trips:
    """Return the project's saga."""
    return Trips(project)


@pytest.fixture
def busy(project: Project, settings: Any, trips: Trips) -> Project:
    """Return a project in which something of everything waits."""
    file = {"BACKEND": "tests.desk.brokers.FileBroker", "OPTIONS": {"path": "/dev/null"}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"file": file}, "ROUTES": {"shop.*": "file"}}
    project.consume(Sent, consumer="mailing", work=failing, retry=Retry(1))
    project.publish(Sent("ada"), Sent("ada"), Sent("bob"))
    project.ship()
    project.work("mailing")
    project.publish(Sent("eve"))
    return project


def parts(client: Client) -> dict[str, str]:
    """Return the text of each part of the page, by its heading."""
    page = client.get(PAGE).content.decode()
    found = re.findall(r'<section.*?<h2 id="[^"]*">([^<]*)</h2>(.*?)</section>', page, re.DOTALL)
    return {head: unescape(" ".join(re.sub(r"<[^>]+>", " ", body).split())) for head, body in found}


def test_it_tells_what_waits_who_works_and_what_is_wrong(busy: Project, root: Client) -> None:
    """Of both boxes, every broker, every consumer."""
    page = parts(root)

    assert "inbox mailing: 2 dead letters wait for an operator" in page["Alarms"]
    assert re.search(r"outbox database on default 1 [\d.]+ s 0 0 0 0 - 0", page["Queues"])
    assert "inbox mailing on default 0 - 2 1 2 0 - 0" in page["Queues"]
    assert "file shop.* stored: it survives a restart of the broker 0 -" in page["Routes"]
    assert "database domain events, what no pattern fits stored:" in page["Routes"]
    assert "mailing on default 0 - 0 0 of 16 database daemon -" in page["Consumers"]
    assert "1 inbox mailing on default ConnectionError: no mail for ada" in page["Dead letters by cause"]


def test_it_tells_what_went_through_and_who_works(busy: Project, root: Client) -> None:
    """By the tallies and the heartbeats of all processes."""
    then = minute_of(timezone.now() - timedelta(minutes=30))
    shipped = Entry("outbox", "file", "published", 1200, 2400.0, 9.0)
    add("default", {then: [shipped, Entry("inbox", "mailing", "failed", 3)]})
    relay = Beat(job="relay file", box="outbox", queue="file", up=60.0)
    beat("default", [relay, Beat(job="consumer mailing", box="inbox", queue="mailing", age=3.0)], pid=7)
    beat("default", [evolve(relay, trouble="BrokerDown: no answer")], pid=8)

    page = parts(root)

    told = "messages done in each minute of the last hour, 1,200 at most"
    assert f"outbox file on default 0 - 0 0 0 1,200 {told} 2.0 s 0" in page["Queues"]
    assert "stored: it survives a restart of the broker 2 open: BrokerDown: no answer" in page["Routes"]
    assert "mailing on default 0 - 1 0 of 16 database daemon -" in page["Consumers"]
    assert re.search(r"relay file 2 \S+ 7, \S+ 8 - 0.0 s BrokerDown: no answer", page["Workers"])
    assert re.search(r"consumer mailing 1 \S+ 7 - 3.0 s -", page["Workers"])
    drawn = re.findall(r"<svg class=.cqrs-spark.*?</svg>", root.get(PAGE).content.decode())
    assert [ElementTree.fromstring(svg).findtext("title") for svg in drawn] == [told]


def test_it_tells_when_the_disk_is_full(project: Project, settings: Any, root: Client) -> None:
    """By what was noted before, and by how large the disk is."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "DISK_BYTES": {"default": 10**12}}
    Size.objects.create(at=timezone.now() - timedelta(hours=10), name="", bytes=0)

    storage = parts(root)["Storage"]

    assert re.search(r"the whole database on default [\d.]+ .B [\d.]+ .B [\d,]+ y ", storage)


def test_it_leads_to_what_it_tells_of(busy: Project, trips: Trips, root: Client) -> None:
    """Every link on it is a page; the lists and the index lead to it."""
    trips.broken["postcard"] = OSError("no stamps")
    saga_id = trips.run()

    page = root.get(PAGE).content.decode()
    links = {link.replace("&amp;", "&") for link in re.findall(r'href="(/admin/django_cqrs/[^"]*)"', page)}

    assert f"/admin/django_cqrs/saga/{saga_id}/change/?database=default" in links
    assert "/admin/django_cqrs/saga/?database=default&status=FAILED" in links
    assert len([link for link in links if "/dead/cause/?" in link]) == 2
    assert [link for link in links if root.get(link).status_code != 200] == []
    for other in (
        "/admin/",
        "/admin/django_cqrs/",
        *(f"/admin/django_cqrs/{name}/" for name in ("dead", "blocked", "action", "saga")),
    ):
        assert f'href="{PAGE}"' in root.get(other).content.decode()


def test_a_quiet_project_is_told_to_be_so(project: Project, root: Client) -> None:
    """Nothing waits, nobody has died."""
    page = parts(root)

    assert page["Queues"] == "Nothing waits, and nothing was done in the last hour."
    assert page["Alarms"] == "None."
    assert page["Dead letters by cause"].startswith("None.")


def test_it_is_for_those_with_its_permission(busy: Project) -> None:
    """Who may see nothing else sees no link to it."""
    assert staff("view_dead").get(PAGE).status_code == 403
    assert PAGE not in staff("view_dead").get("/admin/django_cqrs/dead/").content.decode()

    page = staff("view_operations").get(PAGE).content.decode()

    assert "no mail for ada" in page
    assert "/django_cqrs/dead/" not in page


def test_a_site_of_the_projects_own_may_have_the_page_alone(busy: Project, root: Client, settings: Any) -> None:
    """Then it leads to nothing that is not there."""
    settings.ROOT_URLCONF = __name__

    page = root.get("/own/django_cqrs/operations/").content.decode()

    assert "no mail for ada" in page
    assert "/django_cqrs/dead/" not in page


def test_it_has_no_script_and_no_style_of_ours(busy: Project, root: Client) -> None:
    """So a strict Content-Security-Policy lets all of it through."""
    for address in (PAGE, "/admin/django_cqrs/dead/causes/"):
        ours = root.get(address).content.decode().partition('id="content-main"')[2].partition('id="footer"')[0]

        assert ours
        assert re.findall(r"<script|<style|style=|javascript:|\son\w+=", ours) == []


def test_markup_and_long_texts_are_shown_as_texts(busy: Project, trips: Trips, root: Client) -> None:
    """Whatever a cause, a key, a queue or a topic says."""
    Dead.objects.filter(key="ada").update(reason=MARKUP + "x" * 100_000)
    Dead.objects.filter(key="bob").update(queue=MARKUP + "y" * 150)
    Blocked.objects.filter(key="ada").update(error=MARKUP + "x" * 100_000)
    saga_id = trips.run()
    Saga.objects.filter(pk=saga_id).update(saga=MARKUP, status="FAILED", error=MARKUP + "z" * 100_000)

    page = root.get(PAGE).content.decode()

    assert MARKUP not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 4
    assert len(page) < 60_000


def test_it_can_load_itself_again(project: Project, root: Client) -> None:
    """As often as it offers to, without a script."""
    assert '<meta http-equiv="refresh" content="30">' in root.get(PAGE, {"every": "30"}).content.decode()
    for every in ("0", "-1", '1"><script>', ""):
        assert "http-equiv" not in root.get(PAGE, {"every": every}).content.decode()


def test_all_aliases_are_told_of(busy: Project, root: Client) -> None:
    """Which one is told as well, and links lead to its lists."""
    letter = Dead.objects.get(key="ada")
    Dead.objects.using("audit").bulk_create(
        [Dead(**{field.attname: getattr(letter, field.attname) for field in Dead._meta.concrete_fields})]
    )

    page = root.get(PAGE).content.decode()

    assert "<small>on audit</small>" in page
    assert "?database=audit&amp;box=inbox&amp;queue=mailing" in page


class Hanging:
    """A broker that answers when it is let."""

    let = threading.Event()
    asked = 0
    threadsafe = True

    @property
    def promise(self) -> str:
        """Hang."""
        type(self).asked += 1
        if not self.let.wait(20):
            raise BrokerDown("nobody has let me")
        return "memory"


def test_a_broker_that_hangs_does_not_hang_the_page(project: Project, settings: Any, root: Client) -> None:
    """It is asked aside, once, and its answer is shown when it is there."""
    Hanging.let.clear()
    hanging = {"BACKEND": f"{__name__}.Hanging"}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"hanging": hanging}}

    first, second = parts(root)["Routes"], parts(root)["Routes"]
    Hanging.let.set()
    answer = promises(["hanging"], patience=20)

    assert f"hanging none {ASKED}" in first
    assert first == second
    assert answer == {"hanging": "memory"}
    assert Hanging.asked == 1
    assert "in memory: a crash of the broker may lose it" in parts(root)["Routes"]


def test_a_broker_that_cannot_be_made_is_told(project: Project, settings: Any, root: Client) -> None:
    """Beside what is wrong."""
    wrong = {"BACKEND": "tests.desk.brokers.FileBroker", "OPTIONS": {"file": 1}}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"wrong": wrong, "absent": {"BACKEND": "no.such.Broker"}},
    }

    page = parts(root)

    assert "wrong none not known: BROKERS['wrong']" in page["Routes"]
    assert "absent none not known: ModuleNotFoundError" in page["Routes"]
    assert "the broker 'wrong' cannot be asked" in page["Alarms"]


@pytest.mark.parametrize("numbers", [[], [0], [5], [0, 0, 0], [1, 2, 3, 1_000_000]])
def test_a_sparkline_stays_in_its_box(numbers: list[float]) -> None:
    """Whatever it is made of, and its title is a text."""
    svg = ElementTree.fromstring(sparkline(numbers, title=MARKUP))

    width, height = float(svg.get("width", 0)), float(svg.get("height", 0))
    points = [point.split(",") for line in svg.iter("polyline") for point in line.get("points", "").split()]
    assert len(points) == len(numbers)
    assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in points)
    assert svg.findtext("title") == MARKUP
