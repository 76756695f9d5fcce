"""A commit that puts work into a queue wakes those who wait for it."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from attrs import define, frozen
from django.db import DatabaseError, connection, connections, transaction

from django_cqrs import bus, promotion, wakeup
from django_cqrs.bells import Bells, is_ringing_here, place_of, ring_here, ringing_here
from django_cqrs.consumers import consumers
from django_cqrs.listening import Listener, listening
from django_cqrs.models import Inbox
from django_cqrs.promotion import promoters
from django_cqrs.relay import relays
from django_cqrs.testing import run_all
from simplecqrs import NotificationEvent
from simplecqrs.bell import Bell, Stop
from simplecqrs.loop import Loop
from tests.desk import processes
from tests.desk.messages import OpenTicket, Remind
from tests.desk.project import Project

committing = pytest.mark.usefixtures("committed")
POSTGRESQL = connection.vendor == "postgresql"


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """For everybody."""

    who: str


def configure(settings: Any, **changes: Any) -> None:
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, **changes}


def notified_by(sql: str, params: Any) -> tuple[str, ...]:
    """Return the queues for which a statement notifies, whether it asks for the channel or knows it."""
    if "pg_notify" in sql:
        return tuple(params[2::2])
    return tuple(re.findall(r"NOTIFY \"\w+\", '([^']*)'", sql))


@define
class Statements:
    """What was executed on the connection, and whether it was inside of a transaction."""

    notified: list[tuple[tuple[str, ...], bool]]
    count: int = 0

    def note(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.count += 1
        if names := notified_by(sql, params):
            self.notified.append((names, connection.in_atomic_block))
        return execute(sql, params, many, context)


@contextmanager
def watched() -> Generator[Statements, None, None]:
    wakeup._ahead.clear()
    found = Statements([])
    with connection.execute_wrapper(found.note):
        yield found


class Rung:
    """Rings of this process, by the names of queues."""

    def __init__(self) -> None:
        self.bells = Bells(Stop())
        self._heard: dict[str, Bell] = {}
        for name in ("outbox:database", "inbox:deferred", "inbox:tally", "inbox:one"):
            self._heard[name] = self.bells._bells["default", name] = Bell()

    @property
    def names(self) -> set[str]:
        return {name for name, bell in self._heard.items() if bell.rings}

    def clear(self) -> None:
        for bell in self._heard.values():
            bell._rings = 0


@pytest.fixture
def rung() -> Iterator[Rung]:
    rung = Rung()
    with ringing_here(rung.bells):
        yield rung


# whom a commit wakes


@committing
def test_a_commit_wakes_whoever_works_the_queues_that_it_filled(rung: Rung) -> None:
    """After the commit, and nobody else."""
    with transaction.atomic():
        bus.send(OpenTicket("one"))
        assert rung.names == set()
    assert rung.names == {"outbox:database"}
    rung.clear()

    bus.defer(Remind(7, "later"))

    assert rung.names == {"inbox:deferred"}


@committing
def test_the_relay_wakes_the_consumers_whose_inboxes_it_fills(project: Project, rung: Rung) -> None:
    """The database broker stores in the relay's transaction."""
    project.consume(Moved, consumer="one")
    project.publish(Moved("ada"))
    rung.clear()

    project.ship()

    assert rung.names == {"inbox:one"}


@committing
def test_what_is_promoted_wakes_its_workers(rung: Rung) -> None:
    """It was stored long ago, when there was nothing to do yet."""
    bus.defer(Remind(7, "later"), due=timedelta(hours=1))
    assert rung.names == set()

    [promoter] = promoters(["default"], ahead=timedelta(hours=2))
    assert promoter.step() == 1

    assert rung.names == {"inbox:deferred"}


@committing
def test_a_promoter_is_patient_while_somebody_hears_and_looks_at_once_when_something_is_scheduled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An idle minute costs four statements then, and thirty without."""
    now = [100.0]
    monkeypatch.setattr(promotion.time, "monotonic", lambda: now[0])

    def statements(seconds: int) -> int:
        with watched() as found:
            for _ in range(10 * seconds):
                now[0] += 0.1
                assert promoter.step() == 0
        return found.count

    bells = Bells(Stop())
    [promoter] = promoters(["default"])
    bells.bell(promoter)
    assert statements(60) in {29, 30}
    bells.hearing.add("default")
    bells.ring("default")
    assert statements(60) in {4, 5}

    with ringing_here(bells):
        bus.defer(Remind(7, "later"), due=timedelta(hours=1))

    assert statements(1) == 1


@committing
def test_a_rollback_wakes_nobody(rung: Rung) -> None:
    """There is nothing to be done."""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        bus.send(OpenTicket("one"))
        raise ZeroDivisionError

    assert rung.names == set()


@committing
def test_what_follows_a_savepoint_that_was_rolled_back_wakes(rung: Rung) -> None:
    """Django forgets what was to be called after the commit, with the savepoint."""
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            bus.defer(Remind(1, "lost"))
            raise ZeroDivisionError
        bus.defer(Remind(2, "kept"))

    assert rung.names == {"inbox:deferred"}
    assert Inbox.objects.count() == 1


@committing
def test_whoever_waits_is_woken_before_what_others_do_after_the_commit(rung: Rung) -> None:
    """A mail that takes its time, or an error."""
    woken: list[set[str]] = []

    def last() -> None:
        woken.append(rung.names)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(last)
        bus.send(OpenTicket("one"))

    assert woken == [{"outbox:database"}]


@committing
def test_an_idle_step_of_a_relay_and_of_a_worker_is_one_statement() -> None:
    """With a listener an idle loop makes about one a second: less than seventy a minute."""
    [relay] = relays(databases=["default"], routes=["database"])
    worker = next(job for job in consumers("deferred") if place_of(job) == ("default", "inbox:deferred"))
    for job in (relay, worker):
        for _ in range(2):  # what comes again at once is prepared
            job.step()
        with watched() as found:
            assert not job.step()

        assert found.count <= 1


@committing
def test_in_manual_transactions_nobody_is_woken_and_nothing_fails(rung: Rung) -> None:
    """Nobody tells when such a one is committed."""
    connection.set_autocommit(False)
    try:
        bus.defer(Remind(1, "x"))
        connection.commit()
    finally:
        connection.set_autocommit(True)

    assert rung.names == set()
    assert Inbox.objects.count() == 1


@pytest.mark.django_db(databases=["default", "audit"])
def test_what_a_testcase_captures_is_its_own(
    rung: Rung, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    """Nothing of ours is among what a project's test counts."""
    with django_capture_on_commit_callbacks() as calls:
        bus.defer(Remind(1, "x"))

    assert calls == []
    run_all()


def test_bells_ring_only_as_long_as_loops_run() -> None:
    """A web process has none."""
    rung = Rung()
    with ringing_here(rung.bells):
        assert is_ringing_here()
    ring_here("default", ["inbox:one"])

    assert not is_ringing_here()
    assert rung.names == set()


@committing
def test_where_nobody_can_be_woken_a_commit_costs_nothing(settings: Any) -> None:
    """Nothing is even remembered."""
    configure(settings, WAKEUP="none" if POSTGRESQL else "notify")
    with transaction.atomic():
        bus.defer(Remind(1, "x"))

        assert connection.run_on_commit == []


def test_nobody_listens_where_it_is_switched_off(settings: Any) -> None:
    """Nor on another database than PostgreSQL."""
    configure(settings, WAKEUP="none" if POSTGRESQL else "notify")
    with listening(["default"], Bells(Stop())):
        assert not any(thread.name.startswith("cqrs listener") for thread in threading.enumerate())


@pytest.mark.needs("postgresql")
class TestNotify:
    """What a commit sends."""

    postgresql = POSTGRESQL

    @committing
    def test_a_transaction_notifies_once_and_after_its_commit(self) -> None:
        """However much it stores, in whatever queues."""
        with watched() as found:
            with transaction.atomic():
                bus.send(OpenTicket("one"))
                bus.send(OpenTicket("two"))
                bus.defer(Remind(7, "later"))
            [(names, inside)] = found.notified

        assert sorted(names) == ["inbox:deferred", "outbox:database"]
        assert not inside

    @committing
    def test_commits_that_come_now_and_then_all_notify(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also if some come at once: nobody is to wait for the next look of who was woken by the one before."""
        now = [100.0]
        monkeypatch.setattr(wakeup.time, "monotonic", lambda: now[0])
        with watched() as found:
            for milliseconds in (0, 0.3, 0.5, 0.1, 9, 0.2):
                now[0] += milliseconds / 1000
                bus.defer(Remind(7, "later"))

        assert len(found.notified) == 6

    @committing
    def test_who_commits_all_the_time_notifies_now_and_then(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What does not follows one that did within a gap, and who was woken by that looks again after it."""
        now, told = [100.0], []
        monkeypatch.setattr(wakeup.time, "monotonic", lambda: now[0])
        with watched() as found:
            for _ in range(60):
                before = len(found.notified)
                bus.defer(Remind(7, "later"))
                told += [now[0]] * (len(found.notified) - before)
                assert now[0] - told[-1] < wakeup.GAP
                now[0] += 0.0005

        assert len(told) in range(17, 21)  # 5 at first, and one for each two of the 30 ms

    @committing
    def test_wake_up_can_be_switched_off(self, settings: Any) -> None:
        """Then all poll."""
        configure(settings, WAKEUP="none")
        with watched() as found, transaction.atomic():
            bus.defer(Remind(7, "later"))
            assert connection.run_on_commit == []

        assert found.notified == []

    @committing
    def test_a_notification_that_fails_fails_nobody_and_is_told_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """What is committed is committed."""

        def refuse(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            if "pg_notify" in sql or "NOTIFY" in sql:
                raise DatabaseError("no room in the queue")
            return execute(sql, *rest)

        with connection.execute_wrapper(refuse):
            for number in range(3):
                bus.defer(Remind(number, "later"))

        told = [record.getMessage() for record in caplog.records]
        assert told == ["'default': nobody could be woken by NOTIFY, so they poll: no room in the queue"]
        assert Inbox.objects.count() == 3
        with watched() as found:
            bus.defer(Remind(9, "later"))
        assert len(found.notified) == 1


@contextmanager
def heard(bells: Bells) -> Generator[None, None, None]:
    """Listen on the default alias, and begin when it hears."""
    with listening(["default"], bells):
        processes.until(lambda: "default" in bells.hearing)
        yield


@pytest.mark.needs("postgresql")
class TestListener:
    """Who hears of it."""

    postgresql = POSTGRESQL

    @committing
    def test_a_listener_rings_for_the_queue_that_a_commit_filled(self) -> None:
        """In another connection, as in another process."""
        rung = Rung()
        with heard(rung.bells):
            rung.clear()
            wakeup._ahead.clear()
            bus.defer(Remind(7, "later"))

            processes.until(lambda: rung.names == {"inbox:deferred"})
        assert rung.bells.hearing == set()

    @committing
    def test_an_idle_loop_is_woken_at_once(self) -> None:
        """However long it would have waited."""
        stop = Stop()
        bells = Bells(stop)
        [relay] = relays(databases=["default"], routes=["database"])
        loop = Loop([relay], stop, bell=bells.bell(relay), cap=lambda: 3600.0)
        with heard(bells):
            assert loop.run(seconds=0.05) == 0
            wakeup._ahead.clear()
            rings = bells.bell(relay).rings
            bus.send(OpenTicket("one"))

            assert bells.bell(relay).wait(rings, 20)
            assert loop.run(seconds=0.1) == 1

    @committing
    def test_a_listener_comes_back_after_its_connection_was_cut(self, caplog: pytest.LogCaptureFixture) -> None:
        """It says so once each, and rings for what it may have missed."""
        caplog.set_level(logging.WARNING, "django_cqrs")
        rung = Rung()
        with heard(rung.bells):
            rung.clear()
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'cqrs listener' AND datname = current_database()"
                )
            processes.until(lambda: "the listener is back" in caplog.text)

            processes.until(lambda: len(rung.names) == 4)
            assert caplog.text.count("the listener has no connection") == 1

    @committing
    def test_a_listener_that_hears_nothing_says_so_and_lets_the_loops_poll(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As behind pgbouncer's transaction pooling: LISTEN works there, and what is sent never comes."""
        from django_cqrs import listening as module

        monkeypatch.setattr(module, "PROBE", 0.05)
        never_the_same = "gen_random_uuid()::text || %s"  # each connection has its own
        monkeypatch.setattr(module, "channel_of", lambda schema: never_the_same)
        bells = Bells(Stop())
        listener = Listener("default", bells)
        listener.start()
        processes.until(lambda: not listener._thread.is_alive())
        listener.close()

        assert "'default': LISTEN hears nothing" in caplog.text
        assert "LISTEN_ALIAS" in caplog.text
        assert bells.hearing == set()

    @committing
    def test_a_listener_may_go_past_a_pooler(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """By an alias that connects directly."""
        configure(settings, LISTEN_ALIAS={"default": "direct"})
        direct = {**connections["default"].settings_dict, "OPTIONS": {"application_name": "past the pooler"}}
        monkeypatch.setitem(connections.settings, "direct", direct)
        with heard(Bells(Stop())), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'past the pooler'")

            assert cursor.fetchone() == (1,)

    def test_without_psycopg_3_the_loops_poll(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It says so once."""
        monkeypatch.setattr(connection.Database, "__name__", "psycopg2")
        bells = Bells(Stop())
        listener = Listener("default", bells)
        listener.start()
        listener.close()

        assert caplog.text.count("without psycopg 3 nobody listens") == 1

    @committing
    @pytest.mark.processes
    def test_a_daemon_hands_an_event_from_its_commit_to_its_handler(self) -> None:
        """Woken twice on the way; nothing waits for a second."""
        with processes.manage("cqrs_relay", "--consume"):
            processes.until(lambda: _listeners() == 2)
            bus.defer(Remind(7, "now"))

            processes.until(lambda: not Inbox.objects.exists())


def _listeners() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cqrs listener' AND query LIKE 'LISTEN%%'"
            " AND datname = ANY(%s)",
            [[connections[alias].settings_dict["NAME"] for alias in ("default", "audit")]],
        )
        return int(cursor.fetchone()[0])
