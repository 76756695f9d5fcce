"""Due times: what waits for them, where, and how it is moved when they have come."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from io import StringIO
from typing import Any

import pytest
from attrs import frozen
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.models import DateTimeField, ExpressionWrapper
from django.test.utils import CaptureQueriesContext

from django_cqrs import bus, promotion
from django_cqrs.conf import table
from django_cqrs.consumers import consumers
from django_cqrs.databases import dialect, now
from django_cqrs.errors import PublishedOutsideTransaction
from django_cqrs.inspection import DjangoInspection
from django_cqrs.loops import run
from django_cqrs.models import Blocked, Dead, Inbox, Outbox, Scheduled
from django_cqrs.promotion import PLACE, Promoter, promoters
from django_cqrs.schedule import keep, scheduled
from django_cqrs.status import read_status
from simplecqrs import Command, DomainEvent, NotificationEvent, Publish
from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidMessage, NotConfigured, NotPublished
from simplecqrs.metadata import uuid7
from simplecqrs.queue import DEFERRED
from simplecqrs.timing import EXPIRY, Timed
from tests.desk.messages import Remind
from tests.desk.models import Note
from tests.desk.project import Project

committing = pytest.mark.usefixtures("committed")
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
NOW = timedelta(0)


@frozen
class Moved(NotificationEvent, topic="moves"):
    """For everybody."""

    who: str


@frozen
class Settled(DomainEvent, key="who"):
    """For this project."""

    who: str


@frozen
class Audited(Command[None], name="desk.AuditLater"):
    """Runs on the other alias."""


@frozen
class Ring(Command[None]):
    """Publishes what a test wants."""


def wait(*texts: str, due: timedelta | datetime = HOUR) -> None:
    """Schedule messages that tests know by a text."""
    keep("default", "inbox", [(due, DEFERRED, 0, make(text)) for text in texts])


def make(text: str) -> Envelope:
    """Return a command."""
    now = datetime.now(timezone.utc)
    return Envelope(
        id=uuid7(), kind="command", name="desk.Remind", topic="x", time=now, payload=text.encode(),
        headers={"traceparent": "00-1-2-01", "user": "7"},
    )  # fmt: skip


def texts(rows: Any = Inbox) -> list[str]:
    """Return what a table holds, in the order of its ids."""
    return [bytes(row.payload).decode() for row in rows.objects.order_by("id")]


def promote(**options: Any) -> list[int]:
    """Promote until nothing is due, and return how much each step has moved."""
    promoter = Promoter(alias="default", **options)
    return list(iter(promoter.step, 0))


# deferring


@committing
def test_a_command_with_a_due_time_waits_in_a_table_of_its_own() -> None:
    """It shares the fate of the transaction and of its savepoint, and is never in the inbox before it is due."""
    with suppress(ValueError), transaction.atomic():
        bus.defer(Remind(1, "never"), due=HOUR)
        raise ValueError
    with transaction.atomic():
        bus.defer(Remind(1, "later"), due=HOUR)
        with suppress(ValueError), transaction.atomic():
            bus.defer(Remind(1, "not that"), due=HOUR)
            raise ValueError

    assert promote() == []
    assert texts(Scheduled) == ['{"ticket_id":1,"text":"later"}']
    assert texts() == []


@committing
def test_when_it_is_due_the_same_handler_handles_it_once() -> None:
    """A due time that has passed is due now."""
    bus.defer(Remind(1, "then"), due=NOW)
    bus.defer(Remind(1, "long ago"), due=datetime(2001, 1, 1, tzinfo=timezone.utc))

    assert promote() == [2]
    run(consumers(DEFERRED), drain=True)

    assert [note.text for note in Note.objects.order_by("id")] == ["remind 1 long ago", "remind 1 then"]
    assert [rows.objects.count() for rows in (Scheduled, Inbox)] == [0, 0]


@committing
def test_a_due_time_counts_by_the_clock_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock is wrong neither hurries nor delays anything."""
    monkeypatch.setattr("django.utils.timezone.now", lambda: datetime(2001, 1, 1, tzinfo=timezone.utc))
    wait("due", due=NOW)
    wait("not due", due=HOUR)

    assert promote() == [1]
    assert texts() == ["due"]
    assert Scheduled.objects.get().due > datetime.now(timezone.utc) + HOUR / 2


def test_times_without_a_time_zone_are_refused() -> None:
    """At once, with the command's name."""
    with pytest.raises(InvalidMessage, match=r"Remind: due=.* time zone"):
        bus.defer(Remind(1), due=datetime.now())  # noqa: DTZ005 - that is the mistake
    with pytest.raises(InvalidMessage, match="Remind: expires=5"):
        bus.defer(Remind(1), expires=5)  # type: ignore[arg-type]


@committing
def test_a_command_waits_and_is_promoted_on_its_alias(project: Project) -> None:
    """Its effect and its row are one transaction."""
    done: list[str] = []
    project.registry.add(Audited, lambda command: done.append("audited"))
    project.bus.defer(Audited(), due=NOW)
    assert (Scheduled.objects.using("audit").count(), Scheduled.objects.count()) == (1, 0)

    run([*promoters(), *consumers()], drain=True)

    assert done == ["audited"]


@committing
def test_a_due_time_and_a_key_warn_once_for_each_class(caplog: pytest.LogCaptureFixture) -> None:
    """The order counts from promotion; who says no key is not warned."""

    @frozen
    class Keyed(Command[None], name="desk.Remind", key="who"):
        who: str

    project = Project()
    project.registry.add(Keyed, lambda command: None)

    project.bus.defer(Keyed(""), due=HOUR)
    assert caplog.messages == []
    project.bus.defer(Keyed("ada"), due=HOUR)
    project.bus.defer(Keyed("bob"), due=HOUR)

    [warning] = caplog.messages
    assert "Keyed has an order key and a due time" in warning


# promotion


@committing
def test_a_promoted_row_is_the_same_message_at_a_new_place() -> None:
    """All but the row's id is kept; its age counts from now."""
    wait("a", due=NOW)
    before = Scheduled.objects.values().get()

    promote()

    after = Inbox.objects.values().get()
    changed = {"id", "created_at", "box", "due", "starts"}
    assert {k: v for k, v in after.items() if k not in changed} == {k: v for k, v in before.items() if k not in changed}
    assert after["created_at"] >= before["created_at"]
    assert after["traceparent"] == "00-1-2-01"


@committing
def test_rows_are_promoted_in_the_order_of_their_due_times() -> None:
    """Those of one time in the order in which they were stored; and no more than a chunk in one transaction."""
    start = datetime(2001, 1, 1, tzinfo=timezone.utc)
    for second in (3, 1, 2):
        wait(f"{second}a", f"{second}b", due=start + second * SECOND)
    promotion_chunk = promotion.CHUNK
    promotion.CHUNK = 4
    try:
        moved = promote()
    finally:
        promotion.CHUNK = promotion_chunk

    assert moved == [4, 2]
    assert texts() == ["1a", "1b", "2a", "2b", "3a", "3b"]


@committing
def test_both_boxes_are_served() -> None:
    """An event goes into the outbox, a command into the inbox."""
    wait("command", due=NOW)
    keep("default", "outbox", [(NOW, "events", 3, make("event"))])

    assert promote() == [2]
    assert (texts(Inbox), texts(Outbox)) == (["command"], ["event"])
    assert Outbox.objects.values_list("queue", "lane").get() == ("events", 3)


@committing
def test_what_is_due_now_is_due_at_the_same_moment() -> None:
    """Where times are texts, both are written with as many digits."""
    wait("a")
    moment = ExpressionWrapper(now("default") + timedelta(0), output_field=DateTimeField())

    assert Scheduled.objects.annotate(moment=moment).filter(moment__lte=now("default")).exists()


@committing
def test_a_crash_between_storing_and_deleting_changes_nothing() -> None:
    """A chunk is one transaction."""
    wait("a", "b", due=NOW)

    def crash(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
        if sql.startswith("DELETE") and table("scheduled") in sql and "IN (" in sql:
            raise KeyboardInterrupt
        return execute(sql, *args)

    with connection.execute_wrapper(crash), pytest.raises(KeyboardInterrupt):
        promote()
    assert (texts(), texts(Scheduled)) == ([], ["a", "b"])

    assert promote() == [2]
    assert texts() == ["a", "b"]


@committing
def test_an_idle_promoter_costs_a_statement_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """None at all before it is time to look again: when something is due, or after the longest wait."""
    clock = 1000.0
    monkeypatch.setattr("django_cqrs.promotion.time.monotonic", lambda: clock)
    promoter = Promoter(alias="default")

    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            promoter.step()
        return len(queries)

    assert [statements(), statements()] == [1, 0]
    wait("soon", due=SECOND)
    clock += promotion.LOOK
    assert [statements(), statements()] == [1, 0]
    clock += 0.5
    assert statements() == 0
    clock += 0.5
    assert statements() == 1


def test_only_known_aliases_have_promoters() -> None:
    """Those of the relays."""
    assert [promoter.name for promoter in promoters()] == ["schedule default", "schedule audit"]
    assert [promoter.alias for promoter in promoters(["audit"])] == ["audit"]
    with pytest.raises(NotConfigured, match="no alias with an outbox 'nowhere'"):
        promoters(["nowhere"])


@committing
@pytest.mark.parametrize("which", ["relay", "task"])
def test_relay_and_tick_promote_what_is_due(which: str) -> None:
    """Nobody has to start anything for it."""
    wait("a", due=NOW)

    if which == "relay":
        call_command("cqrs_relay", "--once", stdout=StringIO())
    else:
        from django_cqrs.tasks import relay

        relay()

    assert texts() == ["a"]


@committing
def test_a_thousand_rows_in_front_are_no_hindrance() -> None:
    """What is due is found by an index, for looking and for promoting; so is what nobody need look at."""
    wait(*map(str, range(1000)), due=HOUR)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table('scheduled')}")
    promoter = Promoter(alias="default")

    looking = Scheduled.objects.order_by("due", "id").values_list("due")[:1].explain()
    promoting = promoter.due().values_list("id", flat=True)[:500].explain()

    assert table("scheduled_due") in looking
    assert table("scheduled_due") in promoting
    assert [word for word in ("Sort", "TEMP B-TREE", "filesort") if word in promoting] == []


@committing
class TestSideBySide:
    """Promoters in several processes, for which threads stand here."""

    #: Whether two may write at once.
    parallel = connection.vendor != "sqlite"

    @contextmanager
    def locked(self, *names: str) -> Iterator[None]:
        """Have other rows locked by somebody else; where there is one writer at a time, everything is."""
        entered, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                rows = Scheduled.objects.select_for_update().filter(payload__in=[n.encode() for n in names])
                assert len(rows) == len(names)
                if not self.parallel:
                    Note.objects.create(text="writing")
                entered.set()
                leave.wait(20)
            connections.close_all()

        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(hold)
            assert entered.wait(20)
            try:
                yield
            finally:
                leave.set()
                holding.result(20)

    def test_what_somebody_else_has_locked_is_left_to_them(self) -> None:
        """Without waiting for them."""
        wait("a", "b", due=NOW)

        with self.locked("a", "b"):
            assert promote() == []

        assert promote() == [2]

    @pytest.mark.needs("parallel")
    def test_a_row_that_somebody_has_locked_stops_no_other(self) -> None:
        """An operator may look at it."""
        wait("a", "b", "c", due=NOW)

        with self.locked("b"):
            assert promote() == [2]
        assert texts() == ["a", "c"]

        assert promote() == [1]
        assert texts() == ["a", "c", "b"]

    @pytest.mark.needs("parallel")
    def test_one_promotes_at_a_time(self) -> None:
        """Or the order of due times would depend on who is quicker to commit."""
        wait("a", due=NOW)
        entered, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with dialect("default").fetching(PLACE) as ours:
                assert ours
                entered.set()
                leave.wait(20)
            connections.close_all()

        with ThreadPoolExecutor(1) as pool:
            holding = pool.submit(hold)
            assert entered.wait(20)
            assert promote() == []
            leave.set()
            holding.result(20)

        assert promote() == [1]

    def test_any_number_may_run_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each row is promoted once, and all of them in their order."""
        monkeypatch.setattr(promotion, "CHUNK", 3)
        names = [f"{number:02}" for number in range(40)]
        wait(*names, due=NOW)

        def work() -> None:
            promoter = Promoter(alias="default")
            while Scheduled.objects.exists():
                promoter.step()
            connections.close_all()

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(work) for _ in range(4)]:
                done.result(60)

        assert texts() == names


# events


@committing
def test_an_event_with_a_due_time_is_told_when_it_is_due(project: Project) -> None:
    """To consumers; each broker that it goes to has a row."""
    project.consume(Moved, consumer="one")
    project.publish(Timed(Moved("ada"), due=HOUR), Timed(Moved("bob"), due=NOW), Moved("eve"))
    assert Outbox.objects.count() == 1

    run(promoters(), drain=True)
    project.ship()
    project.work()

    assert sorted(project.seen) == ["one bob", "one eve"]
    assert Scheduled.objects.values_list("box", "queue", "topic").get() == ("outbox", "database", "moves")


@committing
def test_handlers_publish_it_like_any_other_event(project: Project) -> None:
    """It shares the fate of the command, and knows its cause; a domain event may wait for its consumer too."""
    project.consume(Settled, consumer="one")

    def ring(command: Ring, publish: Publish) -> None:
        publish(Timed(Settled("ada"), due=HOUR))

    project.registry.add(Ring, ring)
    project.bus.send(Ring())

    row = Scheduled.objects.get()
    assert (row.name, row.key, row.causation_id) == ("Settled", "ada", row.correlation_id)


@committing
def test_a_due_event_with_a_handler_here_is_refused(project: Project) -> None:
    """It would run now, and never when it is due; a handler of everything is no hindrance, and is told now."""
    everything: list[Any] = []
    project.registry.add(NotificationEvent, everything.append)
    project.registry.add(Settled, lambda event: None)
    project.consume(Settled, consumer="one")

    with pytest.raises(NotPublished, match=r"Settled is due later, but function .* handles it where .*consumer=\.\.\."):
        project.publish(Timed(Settled("ada"), due=HOUR))
    project.publish(Timed(Moved("ada"), due=HOUR))

    assert everything == [Moved("ada")]
    assert Scheduled.objects.count() == 1


def test_a_timed_event_needs_a_transaction_like_any_other(project: Project) -> None:
    """It would share its fate with nothing."""
    with pytest.raises(PublishedOutsideTransaction, match="Timed"):
        project.bus.publish(Timed(Moved("ada"), due=HOUR))


# expiry


@committing
def test_a_command_that_has_expired_is_not_handled() -> None:
    """It leaves no dead letter, and what follows under its key is handled."""
    bus.defer(Remind(1, "expired"), due=-HOUR, expires=SECOND)
    bus.defer(Remind(1, "fresh"), due=-SECOND, expires=HOUR)
    bus.defer(Remind(1, "at once"), expires=HOUR)
    promote()
    jobs = consumers(DEFERRED)

    run(jobs, drain=True)

    assert [note.text for note in Note.objects.order_by("id")] == ["remind 1 at once", "remind 1 fresh"]
    assert [rows.objects.count() for rows in (Inbox, Dead, Blocked)] == [0, 0, 0]
    assert sum(getattr(job, "asides", {}).get("expired", 0) for job in jobs) == 1


@committing
def test_an_event_that_has_expired_is_not_shipped(project: Project) -> None:
    """A relay that was down for long does not tell old news."""
    project.consume(Moved, consumer="one")
    past = datetime.now(timezone.utc) - SECOND
    project.publish(Timed(Moved("ada"), expires=past), Timed(Moved("bob"), expires=HOUR))

    project.ship()
    [row] = Inbox.objects.all()
    assert EXPIRY in row.headers
    project.work()

    assert project.seen == ["one bob"]


# status


@committing
def test_an_operator_sees_how_much_is_scheduled_and_when_the_next_is_due() -> None:
    """For each queue, also where nothing else waits."""
    wait("a", "b", due=2 * HOUR)
    wait("c", due=HOUR)
    keep("default", "outbox", [(3 * HOUR, "events", 0, make("event"))])

    found = {b.queue: b for b in DjangoInspection("default").backlogs()}
    out = StringIO()
    call_command("cqrs_status", stdout=out)

    assert {name: b.scheduled for name, b in found.items()} == {"deferred": 3, "events": 1}
    assert found["deferred"].next_due == pytest.approx(3600, abs=60)
    assert found["events"].next_due == pytest.approx(10800, abs=60)
    assert "1 events wait for the broker 'events', which is not in BROKERS any more" in out.getvalue()
    [line] = [line for line in out.getvalue().splitlines() if " deferred " in line]
    assert line.split()[-3::2] == ["3", "s"]


@committing
def test_what_status_costs_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at what is due first."""
    wait("a", "b", due=HOUR)
    keep("default", "outbox", [(2 * HOUR, "events", 0, make("event"))])
    monkeypatch.setattr("django_cqrs.schedule.CAP", 2)

    assert scheduled("default", "outbox") == {}
    assert scheduled("default", "inbox") == {DEFERRED: (2, pytest.approx(3600, abs=60))}


@committing
def test_what_nobody_promotes_is_an_alarm() -> None:
    """As when no relay runs on that database; what is due since a moment is none."""
    wait("now", due=-SECOND)
    assert read_status().alarms == []
    wait("long ago", due=-48 * HOUR)

    [alarm] = read_status().alarms

    assert re.fullmatch(
        r"inbox deferred: what is scheduled has been due for 172,8\d\d s; does a relay run there\?", alarm
    )
