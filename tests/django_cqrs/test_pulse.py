"""The pulse: what was done in each minute, who works where, and what is made of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from attrs import define, evolve, field, frozen
from django.core.management import call_command
from django.core.management.base import OutputWrapper
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_cqrs import ticks
from django_cqrs.alarms import Limits
from django_cqrs.bells import Bells
from django_cqrs.consumers import consumers
from django_cqrs.counting import Ledger, ledger
from django_cqrs.crew import Crew
from django_cqrs.inbox import door
from django_cqrs.inspection import DjangoInspection
from django_cqrs.meter import Meter
from django_cqrs.models import Dead, Inbox, Outbox, Tally, Worker
from django_cqrs.pulse import Pulse, Sign
from django_cqrs.pulse_status import pulse_alarms
from django_cqrs.purging import TALLIES, purge
from django_cqrs.relay import relays
from django_cqrs.rows import envelope_of
from django_cqrs.status import read_status
from django_cqrs.tallies import Entry, Flow, add, ever, lately, minute_of, throughput
from django_cqrs.workers import TICKS, Beat, beat, workers
from simplecqrs import NotificationEvent, Publish, Retry
from simplecqrs.bell import Stop
from simplecqrs.errors import BrokerDown
from simplecqrs.queue import DATABASE
from simplecqrs.transport import Garbage
from tests.desk import processes
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each tick say that it was there, and forget what other tests have counted in this process."""
    door("default").counted()
    for alias in ("default", "audit"):
        with ledger.taken(alias):
            pass
    monkeypatch.setattr("django_cqrs.pulse.BEATS", 0.0)
    monkeypatch.setattr("django_cqrs.pulse.HOURLY", 0.0)


@frozen
class Rang(NotificationEvent, topic="doors", key="who"):
    """For everybody."""

    who: str


def fail(event: Rang, publish: Publish) -> None:
    """Fail always."""
    raise ConnectionError("no door")


def flow(box: str, queue: str) -> Flow:
    """Return what a queue has done lately."""
    [found] = [f for f in lately("default", timezone.now() - HOUR) if (f.box, f.queue) == (box, queue)]
    return found


def at_work() -> dict[str, int]:
    """Return the processes of all jobs."""
    return {state.job: state.pid for state in workers("default")}


def work(do: Callable[[], None]) -> Any:
    """Run something while the project's daemon runs; return the daemon's crew."""
    stop = Stop()
    crew = Crew([*relays(), *consumers()], stop, Bells(stop), Meter(OutputWrapper(StringIO())))
    thread = threading.Thread(target=crew.run)
    thread.start()
    try:
        do()
    finally:
        stop.set()
        thread.join(20)
    return crew


# -- tallies -----------------------------------------------------------------------------------------------------------


def test_a_tick_writes_at_its_end_what_it_has_done(project: Project) -> None:
    """On both sides, and what came in between."""
    project.consume(Rang, consumer="one")
    consumers()
    project.publish(Rang("ada"), Rang("bob"))

    ticks.relay()
    ticks.consume()

    assert flow("outbox", DATABASE).counts == {"published": 2}
    assert flow("inbox", "one").counts == {"received": 2, "handled": 2}
    assert [f.queue for f in throughput("default", timezone.now() - HOUR)] == ["one", DATABASE]
    assert at_work() == {
        "consumer one": 0, "relay database": 0, "schedule default": 0,
    }  # fmt: skip


def test_failures_and_deaths_are_counted(project: Project) -> None:
    """Each attempt, and each message that was given up."""
    project.consume(Rang, consumer="one", work=fail, retry=Retry(2, first=0.001, cap=0.001))
    project.publish(Rang("ada"))
    project.ship()

    for _ in range(2):
        ticks.consume()

    counts = flow("inbox", "one").counts
    assert (counts["failed"], counts["dead"]) == (2, 1)
    assert flow("inbox", "one").critical is None


def test_the_critical_time_is_from_being_stored_until_being_done(project: Project) -> None:
    """By the database's clock, all together and the longest; on both sides."""
    project.consume(Rang, consumer="one")
    consumers()
    project.publish(Rang("ada"), Rang("bob"))
    Outbox.objects.update(created_at=timezone.now() - timedelta(seconds=30))
    ticks.relay()
    Inbox.objects.filter(key="ada").update(created_at=timezone.now() - timedelta(seconds=90))

    ticks.consume()

    shipped, handled = flow("outbox", DATABASE), flow("inbox", "one")
    assert shipped.critical == pytest.approx(30, abs=3)
    assert handled.longest == pytest.approx(90, abs=3)
    assert handled.critical == pytest.approx(45, abs=3)


def test_what_passes_the_door_is_told_apart(project: Project) -> None:
    """What is new, what was seen before, what has another content, and what may have been forgotten."""
    project.consume(Rang, consumer="one")
    consumers()
    project.publish(Rang("ada"))
    pending = envelope_of(Outbox.objects.get())
    old = evolve(pending, id=uuid4(), time=pending.time - timedelta(days=100))

    for envelopes in ([pending, pending], [evolve(pending, payload=b"{}")], [old]):
        door("default").store("one", envelopes)
    ticks.relay("database")

    counts = flow("inbox", "one").counts
    assert {what: counts[what] for what in ("received", "seen", "mismatch", "outdated")} == {
        "received": 1, "seen": 3, "mismatch": 1, "outdated": 1,
    }  # fmt: skip


def test_what_nobody_could_read_is_counted_as_dead(project: Project) -> None:
    """It never came as far as a consumer, and is a dead letter all the same."""
    project.consume(Rang, consumer="one")
    consumers()

    door("default").bury("one", [Garbage("no id", b"{"), Garbage("no id", b"[")])
    ticks.relay("database")

    assert flow("inbox", "one").counts["dead"] == Dead.objects.count() == 2


def test_processes_add_to_one_tally_and_to_what_happened_ever() -> None:
    """The sum of all minutes outlives them: counters never fall."""
    now = timezone.now()
    long_ago = now - timedelta(days=20)
    for moment in (long_ago, now, now):
        add("default", {minute_of(moment): [Entry("outbox", "redis", "published", 3, 1.5, moment.microsecond)]})

    purge("default", of=TALLIES, seconds=5)

    [minute] = throughput("default", long_ago)
    assert (minute.counts, minute.seconds, minute.longest) == ({"published": 6}, 3.0, now.microsecond)
    [total] = ever("default")
    assert (total.done, total.seconds) == (9, 4.5)


def test_what_cannot_be_written_is_written_later(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    """A database that is down loses no counts, and fails no tick."""
    project.consume(Rang, consumer="one")
    consumers()

    def refuse(execute: Any, sql: str, *rest: Any) -> Any:
        if "cqrs_tally" in sql:
            raise OperationalError("the disk is full")
        return execute(sql, *rest)

    project.publish(Rang("ada"))
    with connection.execute_wrapper(refuse):
        ticks.relay()
    assert "what was done is not recorded now, but later: the disk is full" in caplog.text
    assert not Tally.objects.exists()
    project.publish(Rang("bob"))
    ticks.relay()

    assert flow("outbox", DATABASE).done == 2


def test_what_waits_for_a_database_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a day without it the oldest minutes become one; no number is lost."""
    kept, began = Ledger(), minute_of(timezone.now())
    minutes = iter(began + timedelta(minutes=number) for number in range(24 * 60))
    monkeypatch.setattr("django_cqrs.counting.timezone.now", lambda: next(minutes))

    for _ in range(24 * 60):
        kept.note("default", [Entry("inbox", "one", "handled", 1, 2.0, 3.0)])

    with kept.taken("default") as waiting:
        entries = [entry for minute in waiting.values() for entry in minute]
    assert len(entries) == 60
    assert sum(entry.number for entry in entries) == 24 * 60
    assert max(entry.longest for entry in entries) == 3.0


# -- workers -----------------------------------------------------------------------------------------------------------


def test_the_jobs_of_a_daemon_are_known_while_it_runs(project: Project) -> None:
    """A clean end leaves nobody behind who would seem to be silent."""
    project.consume(Rang, consumer="one")

    def look() -> None:
        processes.until(lambda: at_work() == dict.fromkeys(("consumer one", "relay database"), os.getpid()))
        project.publish(Rang("ada"))
        processes.until(lambda: project.seen == ["one ada"])

    work(look)

    assert at_work() == {}
    counts = flow("outbox", DATABASE).counts
    assert counts["published"] == 1
    assert counts["wakeups"] > 0


@define
class Job:
    """A job that works a queue, as far as others can see."""

    name: str = "relay redis"
    place: tuple[str, str] = ("default", "outbox:redis")
    late: int = 0
    lost: int = 0

    @property
    def storage(self) -> Job:
        return self


@define
class Look:
    """What a daemon shows of its jobs."""

    signs: list[Sign] = field(factory=lambda: [Sign(Job())])

    def __call__(self) -> list[Sign]:
        return self.signs


def test_an_idle_process_writes_three_times_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat is one statement, and there is none while nothing has changed; a trouble is told at once."""
    monkeypatch.setattr("django_cqrs.pulse.BEATS", 20.0)
    monkeypatch.setattr("django_cqrs.pulse.HOURLY", 3600.0)
    look = Look()
    pulse = Pulse(look)
    pulse.write()
    with CaptureQueriesContext(connection) as queries:
        pulse.write()
        assert len(queries) == 0
        look.signs = [Sign(look.signs[0].job, trouble="BrokerDown: no route")]
        pulse.write()
    if connection.vendor != "sqlite":  # which has BEGIN and COMMIT around
        assert len(queries) == 1

    [state] = workers("default")
    assert (state.box, state.queue, state.trouble) == ("outbox", "redis", "BrokerDown: no route")


def test_a_relay_of_another_alias_counts_what_it_brings_into_the_inboxes(project: Project) -> None:
    """They are on the alias default, and nobody else in that process writes there."""
    project.consume(Rang, consumer="one")
    consumers()
    project.publish(Rang("ada"))
    door("default").store("one", [envelope_of(Outbox.objects.get())])

    Pulse(Look([Sign(Job(place=("audit", "outbox:redis")))])).write()

    assert flow("inbox", "one").counts == {"received": 1}
    assert [state.job for state in workers("audit")] == ["relay redis"]
    assert workers("default") == []


def test_what_may_be_lost_or_came_late_is_counted() -> None:
    """By feeds that can tell, and by the sweep of the lanes."""
    job = Job()
    pulse = Pulse(Look([Sign(job)]))
    job.late, job.lost = 2, 1

    pulse.write()

    assert flow("outbox", "redis").counts == {"late": 2, "lost": 1}


def test_a_relay_whose_breaker_is_open_says_for_what_it_waits() -> None:
    """In its heartbeat, without its own name."""

    @define
    class Down(Job):
        def step(self) -> int:
            raise BrokerDown("no route")

    stop = Stop()
    crew = Crew([Down()], stop, Bells(stop), Meter(OutputWrapper(StringIO())))
    thread = threading.Thread(target=crew.run)
    thread.start()
    try:
        processes.until(lambda: [sign.trouble for sign in crew.signs()] == ["BrokerDown: no route"])
    finally:
        stop.set()
        thread.join(20)


def test_who_says_nothing_is_silent_after_a_minute_and_forgotten_after_an_hour() -> None:
    """Killed, or hanging: nobody can tell from here."""
    beat("default", [Beat(job="relay redis", box="outbox", queue="redis")])
    assert [state.is_alive for state in workers("default")] == [True]
    Worker.objects.update(at=timezone.now() - timedelta(seconds=90))
    [state] = workers("default")
    Worker.objects.update(at=timezone.now() - timedelta(hours=2))
    assert workers("default") == []

    ticks.relay()

    assert not state.is_alive
    assert state.silent == pytest.approx(90, abs=5)
    assert not Worker.objects.filter(job="relay redis").exists()


# -- status ------------------------------------------------------------------------------------------------------------


def alarms(**limits: Any) -> list[str]:
    """Return what the pulse is an alarm for."""
    return list(pulse_alarms("default", DjangoInspection("default").backlogs(), Limits(**limits)))


def test_a_queue_with_work_and_nobody_there_is_an_alarm(project: Project) -> None:
    """At once, not only after the five minutes of --max-age; a fetcher is no help."""
    project.consume(Rang, consumer="one")
    project.publish(Rang("ada"))
    assert alarms() == []
    Outbox.objects.update(created_at=timezone.now() - timedelta(seconds=70))
    beat("default", [Beat(job="fetcher x", box="outbox", queue=DATABASE)])

    assert alarms() == ["outbox database: 1 messages wait, and nobody works there"]
    beat("default", [Beat(job="relay database", box="outbox", queue=DATABASE)])
    assert alarms() == []
    Worker.objects.update(at=timezone.now() - timedelta(seconds=90))
    [alarm] = alarms()
    assert "has been silent for 90 s" in alarm
    assert alarms(silent=100) == []


def test_a_consumer_whose_only_fetcher_was_killed_is_an_alarm() -> None:
    """What waits for it is in its broker, and no inbox tells of it; ticks may come as seldom as they like."""
    beat("default", [Beat(job="fetcher one", box="inbox", queue="one")])
    beat("default", [Beat(job="fetcher two", box="inbox", queue="two")], pid=TICKS)
    assert alarms() == []
    Worker.objects.update(at=timezone.now() - timedelta(seconds=90))

    [alarm] = alarms()
    beat("default", [Beat(job="fetcher one", box="inbox", queue="one")], pid=1)

    assert alarm.startswith("fetcher one: ")
    assert alarm.endswith(" has been silent for 90 s, and nobody else fetches for one")
    assert alarms() == []


def test_a_critical_time_that_is_too_long_is_an_alarm() -> None:
    """If somebody has said what is too long; by what was done in the last five minutes."""
    add("default", {minute_of(timezone.now()): [Entry("inbox", "one", "handled", 10, 100.0, 30.0)]})

    assert alarms() == []
    assert alarms(critical=10) == []
    assert alarms(critical=9) == [
        "inbox one: the critical time of the last five minutes is 10.0 s; more workers, or quicker handlers?"
    ]


def test_who_pauses_is_an_alarm_that_asks_no_broker() -> None:
    """The relay has found out."""
    beat("default", [Beat(job="relay redis", box="outbox", queue="redis", trouble="BrokerDown: no route")])

    [alarm] = alarms()

    assert alarm.endswith(") pauses: BrokerDown: no route")


def test_status_tells_of_throughput_workers_and_lanes(project: Project) -> None:
    """In words and as JSON."""
    project.consume(Rang, consumer="one")
    consumers()
    project.publish(*(Rang(f"w{number}") for number in range(20)))
    ticks.relay()
    out = StringIO()

    call_command("cqrs_status", stdout=out)

    said, status = out.getvalue(), read_status()
    assert "last hour outbox database: 20 done, 0 failed, 0 dead; critical time 0." in said
    assert "of 16 lanes have work, 0 workers; from database, engine daemon" in said
    assert ", ticks)" in said
    assert [(f.box, f.queue, f.done, f.received) for f in status.flows] == [
        ("inbox", "one", 0, 20), ("outbox", DATABASE, 20, 0),
    ]  # fmt: skip
    [consumer] = [c for c in status.consumers if c.name == "one"]
    assert (consumer.lanes, 1 < consumer.busy <= 16) == (16, True)
