"""The weaknesses of the predecessors' outbox and inbox, each shown absent: B11, B14, B16, B26, B27."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from attrs import define, field, frozen
from django.core.management import CommandError, call_command
from django.db import connections

from django_cqrs import bus
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Action, Dead, Outbox, ParkedOutbox, Seen
from django_cqrs.queue import outbox
from simplecqrs import Mediator, NotificationEvent, Publish, Registry, Retry
from simplecqrs.envelope import Envelope
from simplecqrs.errors import BrokerDown
from simplecqrs.relay import Relay
from simplecqrs.transport import ACCEPTED, Receipt
from tests.desk.messages import OpenTicket
from tests.desk.models import Tally, Ticket
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")
WAIT = 20  # seconds that a thread waits for another one, before the test has failed


@frozen
class Step(NotificationEvent, topic="steps", key="who"):
    """One of several, in their order."""

    who: str
    step: int = 0
    text: str = ""


@frozen
class Typed(NotificationEvent, topic="typed"):
    """Has fields that plain JSON does not know."""

    id: UUID
    at: datetime
    price: Decimal
    tags: frozenset[str]


@define
class Wire:
    """A broker that remembers what it took, and may be told to do something meanwhile."""

    meanwhile: Callable[[], object] = lambda: None
    taken: list[Envelope] = field(factory=list[Envelope])
    deadlines: list[float] = field(factory=list[float])
    down: bool = False

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Take all."""
        self.ping(deadline=deadline)
        self.deadlines.append(deadline)
        self.meanwhile()
        self.taken += envelopes
        return [ACCEPTED] * len(envelopes)

    def ping(self, *, deadline: float) -> None:
        """Answer unless it is down."""
        if self.down:
            raise BrokerDown("nobody is there")


@pytest.fixture
def routed(settings: Any, tmp_path: Path) -> Path:
    """Route steps to a broker that refuses what says so; return the file that it writes."""
    path = tmp_path / "shipped"
    path.touch()
    backend = {"BACKEND": "tests.desk.brokers.PickyBroker", "OPTIONS": {"path": str(path)}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"wire": backend}, "ROUTES": {"steps": ["wire"]}}
    return path


def manage(*arguments: str) -> str:
    """Run a management command and return what it said."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def elsewhere(work: Callable[[], object]) -> None:
    """Do something in a thread, to its end, with connections of its own."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the test shall see it
            failed.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert failed == []


# B11: the outbox


def test_b11_a_second_poller_finds_nothing_of_what_the_first_one_is_sending(project: Project, routed: Path) -> None:
    """No row is sent twice, and none overtakes: whoever sends holds the lanes."""
    project.publish(*(Step(who, step) for step in range(5) for who in "abc"))
    second = Wire()
    others: list[Any] = []

    def poll() -> None:
        relay = Relay(queue="wire", storage=outbox("default"), publisher=second)
        elsewhere(lambda: others.append(relay.step().read))

    first = Wire(poll)
    assert Relay(queue="wire", storage=outbox("default"), publisher=first).step().accepted == 15

    assert (others, second.taken) == ([0], [])
    for key in "abc":
        assert [json.loads(e.payload)["step"] for e in first.taken if e.key == key] == [0, 1, 2, 3, 4]
    assert Outbox.objects.count() == 0


def test_b11_a_failure_is_neither_hurried_nor_stranded(project: Project, routed: Path, settings: Any) -> None:
    """It waits for its pause, however often somebody polls; at the end it is a letter that can be sent again."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "RELAY_RETRY": Retry(2, first=3600)}
    project.publish(Step("ada", 1, "refused"), Step("ada", 2))
    for _ in range(5):
        manage("cqrs_relay", "--drain", "--route", "wire")
    [blocked] = DjangoInspection("default").blocked()
    assert (blocked.attempts, ParkedOutbox.objects.count(), Dead.objects.count()) == (1, 2, 0)

    manage("cqrs_dead", "retry", "--key", "ada")
    manage("cqrs_relay", "--drain", "--route", "wire")
    assert (Dead.objects.get().attempts, Dead.objects.get().reason) == (2, "not to my taste")
    routed.with_suffix(".mended").touch()
    manage("cqrs_dead", "retry", "--all", "--run")
    manage("cqrs_relay", "--drain", "--route", "wire")

    assert [line.split('"step":')[1][0] for line in routed.read_text().splitlines()] == ["1", "2"]


def test_b11_what_was_sent_leaves_nothing_to_purge_but_ids(project: Project) -> None:
    """Rows are deleted when they are done; ids are forgotten in time."""
    project.consume(Step, consumer="one")
    project.publish(Step("ada"))
    project.ship()
    project.work()
    assert (Outbox.objects.count(), Seen.objects.count()) == (0, 1)

    Seen.objects.update(seen_at=datetime.now(timezone.utc) - timedelta(days=20))
    manage("cqrs_purge")

    assert Seen.objects.count() == 0


# B14: the inbox


def test_b14_a_message_is_done_only_if_all_its_handlers_are(project: Project) -> None:
    """One of two fails: what the other one wrote is rolled back, and both are tried again."""

    def write(event: Any, publish: Publish) -> None:
        Tally.objects.create(name="written")

    def fail(event: Any, publish: Publish) -> None:
        raise ValueError("no")

    project.consume(Step, consumer="one", work=write, retry=Retry(2, first=0))
    project.consume(Step, consumer="one", work=fail, retry=Retry(2, first=0))
    project.publish(Step("ada"))
    project.ship()

    project.work()

    assert Tally.objects.count() == 0
    assert project.seen.count("one ada0") == 4
    assert [letter.reason for letter in project.letters()] == ["ValueError: no"]


def test_b14_each_message_is_committed_by_itself(project: Project) -> None:
    """While the second one of a batch is handled, all can see what the first one did; no lock is kept on it."""
    visible: list[list[str]] = []

    def work(event: Step, publish: Publish) -> None:
        if event.step == 1:
            elsewhere(lambda: visible.append(list(Tally.objects.values_list("name", flat=True))))
        Tally.objects.create(name=f"{event.who}{event.step}")

    project.consume(Step, consumer="one", work=work)
    project.publish(Step("ada", 0), Step("ada", 1))
    project.ship()

    project.work()

    assert visible == [["ada0"]]


def test_b14_types_survive_outbox_and_inbox(project: Project) -> None:
    """A handler gets what was published."""
    got: list[Typed] = []
    event = Typed(uuid4(), datetime(2026, 11, 21, 3, 0, 0, 123456, timezone.utc), Decimal("0.10"), frozenset({"a"}))
    project.registry.add(Typed, got.append, consumer="one")
    project.publish(event)

    project.ship()
    project.work()

    assert got == [event]
    assert [type(value) for value in (got[0].id, got[0].at, got[0].price)] == [UUID, datetime, Decimal]


# B16: nothing is dropped


def test_b16_what_is_published_is_stored_whether_or_not_anybody_ships_it() -> None:
    """By default, and although no relay runs and nobody has subscribed: the row is there when the data is."""
    bus.send(OpenTicket("printer"))

    assert Ticket.objects.count() == 1
    assert Outbox.objects.get().name == "desk.TicketOpened"


def test_b16_a_broker_that_is_down_loses_nothing(project: Project, routed: Path) -> None:
    """However often it is tried."""
    routed.with_suffix(".down").touch()
    project.publish(Step("ada", 0), Step("ada", 1))

    for _ in range(3):
        with pytest.raises(CommandError, match="nobody is there"):
            manage("cqrs_relay", "--drain", "--route", "wire")

    assert (Outbox.objects.count(), Dead.objects.count(), routed.read_text()) == (2, 0, "")


def test_b16_without_an_outbox_a_broker_that_is_down_is_an_error_of_the_caller() -> None:
    """That way gives no guarantee, and is not silent."""
    with pytest.raises(BrokerDown, match="nobody is there"):
        Mediator(Registry(), publisher=Wire(down=True)).publish(Step("ada"))


# B26: policies and operators


def test_b26_handlers_consumers_and_brokers_have_policies_of_their_own(
    project: Project, routed: Path, settings: Any
) -> None:
    """How often a handler is tried, what a consumer does else, and how often a broker is asked."""
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "ROUTES": {"steps": ["wire", "database"]},
        "RELAY_RETRY": Retry(4, first=0),
        "CONSUMERS": {"default": {"retry": Retry(3, first=0)}, "own": {"retry": Retry(9, first=0)}},
    }

    def fail(event: Any, publish: Publish) -> None:
        raise ValueError("no")

    project.consume(Step, consumer="default", work=fail)
    project.consume(Step, consumer="own", work=fail, retry=Retry(2, first=0))
    project.publish(Step("ada", 0, "refused"))
    project.ship()
    project.work()

    assert {letter.queue: letter.attempts for letter in project.letters()} == {"wire": 4, "default": 3, "own": 2}


def test_b26_a_broker_is_given_a_deadline(project: Project, routed: Path) -> None:
    """In seconds; far below that after which the database takes the lanes."""
    project.publish(Step("ada"))
    wire = Wire()
    relay = Relay(queue="wire", storage=outbox("default"), publisher=wire, deadline=1.5)

    relay.step()

    assert wire.deadlines == [1.5]
    assert relay.deadline < relay.idle


def test_b26_operators_inspect_requeue_and_skip(project: Project) -> None:
    """By commands, with the reason on record; tests/django_cqrs/test_admin.py has the same in Django's admin."""
    mended: list[bool] = []

    def work(event: Step, publish: Publish) -> None:
        if not mended:
            raise ConnectionError("no bank")

    project.consume(Step, consumer="one", work=work, retry=Retry(1))
    project.publish(Step("ada"), Step("bob"))
    project.ship()
    project.work()
    ada, bob = (str(Dead.objects.get(key=key).pk) for key in ("ada", "bob"))

    assert "2 x inbox one: ConnectionError: no bank" in manage("cqrs_dead", "list")
    assert "key         ada" in manage("cqrs_dead", "show", ada)
    mended.append(True)
    manage("cqrs_dead", "retry", ada, "--reason", "mended")
    manage("cqrs_dead", "skip", bob, "--reason", "too late")
    project.seen.clear()
    project.work()

    assert project.seen == ["one ada0"]
    assert list(Action.objects.order_by("pk").values_list("act", "reason")) == [
        ("retry", "mended"),
        ("skip", "too late"),
    ]


# B27: order


def test_b27_handlers_see_each_key_in_its_order_whatever_fails(project: Project) -> None:
    """Four workers, every fifth message fails at its first attempt; other keys go on meanwhile."""
    handled: list[tuple[str, int]] = []
    failed: set[tuple[str, int]] = set()

    def work(event: Step, publish: Publish) -> None:
        place = (event.who, event.step)
        if event.step % 5 == 0 and place not in failed:
            failed.add(place)
            raise ValueError("not yet")
        handled.append(place)

    project.consume(Step, consumer="one", work=work, retry=Retry(5, first=0))
    project.publish(*(Step(who, step) for step in range(10) for who in "abcd"))
    project.ship()

    threads = [threading.Thread(target=elsewhere, args=(project.work,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    project.work()

    assert len(failed) == 8
    for key in "abcd":
        assert [step for who, step in handled if who == key] == list(range(10))
