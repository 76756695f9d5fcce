"""The daemon: a thread for each job, a clean stop, and a watchdog."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from attrs import define, field
from django.core.management.base import OutputWrapper
from django.db import DatabaseError, OperationalError, connection, connections

from django_cqrs import bus
from django_cqrs.bells import Bells, place_of
from django_cqrs.consumers import consumers
from django_cqrs.crew import Crew
from django_cqrs.daemon import serve
from django_cqrs.meter import Meter, Metered
from django_cqrs.models import Inbox, Outbox
from django_cqrs.relay import relays
from django_cqrs.watchdog import HUNG, Watch, limit_of
from simplecqrs.bell import Stop
from simplecqrs.consumer import Counts
from simplecqrs.errors import BrokerDown
from simplecqrs.loop import Loop
from tests.desk import processes
from tests.desk.messages import OpenTicket

committing = pytest.mark.usefixtures("committed")


@define
class Work:
    """Does what a function says, and counts how often."""

    do: Callable[[], int]
    name: str = "work"
    steps: int = 0

    def step(self) -> int:
        self.steps += 1
        return self.do()


def nothing() -> int:
    return 0


def crew_of(*jobs: Any, stop: Stop | None = None, **options: Any) -> Crew:
    stop = stop or Stop()
    return Crew(jobs, stop, Bells(stop), Meter(OutputWrapper(StringIO())), **options)


@contextmanager
def running(crew: Crew) -> Generator[threading.Thread, None, None]:
    """Run a crew in a thread that is its main one."""
    thread = threading.Thread(target=crew.run)
    thread.start()
    try:
        yield thread
    finally:
        crew.stop.set()
        thread.join(20)
    assert not thread.is_alive()


def test_a_job_that_hangs_delays_no_other() -> None:
    """Each has a thread of its own."""
    hangs, go_on = threading.Event(), threading.Event()

    def hang() -> int:
        hangs.set()
        go_on.wait(20)
        return 0

    other = Work(nothing)
    with running(crew_of(Work(hang, "hanging"), other)):
        assert hangs.wait(20)
        before = other.steps

        processes.until(lambda: other.steps > before + 2)
        go_on.set()


def test_an_error_that_no_loop_survives_ends_all_threads_and_is_raised_in_the_main_one() -> None:
    """A bug is not waited for, and the others finish their step."""
    begun, finished = threading.Event(), threading.Event()

    def last() -> int:
        begun.set()
        stop.wait(20)
        finished.set()
        return 1

    def fail() -> int:
        begun.wait(20)
        raise ZeroDivisionError

    stop = Stop()
    with pytest.raises(ZeroDivisionError):
        crew_of(Work(last), Work(fail), stop=stop).run()

    assert finished.is_set()


def test_a_broker_that_is_down_pauses_only_its_job() -> None:
    """And the live line tells of it."""

    def fail() -> int:
        raise BrokerDown("no route")

    other = Work(nothing)
    crew = crew_of(Work(fail, "relay redis"), other)
    with running(crew):
        processes.until(lambda: crew.troubles() == ["PAUSED relay redis: BrokerDown: no route"])
        before = other.steps

        processes.until(lambda: other.steps > before + 2)


@committing
def test_the_connections_of_a_thread_are_closed_at_its_end() -> None:
    """Those of the main thread stay as they are."""
    used: list[Any] = []

    def ask() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        used.append(connections["default"])
        stop.set()
        return 1

    stop = Stop()
    connections["default"].ensure_connection()
    crew_of(Work(ask), stop=stop).run()

    assert used[0] is not connections["default"]
    assert used[0].connection is None
    assert connections["default"].connection is not None


@define
class Closing(Work):
    """Notes in which thread it was closed; the database may be down then."""

    closed: list[str] = field(factory=list)

    def close(self) -> None:
        self.closed.append(threading.current_thread().name)
        raise DatabaseError("gone")


@pytest.mark.usefixtures("unblocked")
def test_jobs_are_closed_when_they_are_done() -> None:
    """A worker leaves its lanes to others, who need not wait for them then; in the thread that has its connections."""
    in_thread, drained, once = (Closing(nothing, name) for name in ("one", "two", "three"))

    crew_of(in_thread).run(seconds=0.01)
    serve(lambda stopping: [drained], OutputWrapper(StringIO()), drain=True)
    serve(lambda stopping: [once], OutputWrapper(StringIO()), once=True)

    assert in_thread.closed == ["cqrs one"]
    assert drained.closed == once.closed == [threading.current_thread().name]


def test_seconds_end_all_threads() -> None:
    """For supervisors that recycle."""
    crew = crew_of(Work(nothing), Work(nothing))

    crew.run(seconds=0.02)

    assert not crew.stop.is_set()


def test_a_worker_whose_parent_is_gone_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would work on for ever, unseen."""
    from django_cqrs import processes as module

    monkeypatch.setattr(module.multiprocessing, "parent_process", object)
    monkeypatch.setattr(module, "_parent", -1)

    crew = crew_of(Work(nothing))
    crew.run()

    assert crew.stop.is_set()


@pytest.mark.usefixtures("unblocked")
def test_draining_ends_when_a_whole_round_did_nothing() -> None:
    """A relay makes work for consumers, and they for a relay; so they take turns in one thread."""
    left, threads = iter([1, 0, 1, 0]), set[str]()

    def work() -> int:
        threads.add(threading.current_thread().name)
        return next(left, 0)

    one, other = Work(work, "one"), Work(work, "other")
    out = StringIO()
    serve(lambda stopping: [one, other], OutputWrapper(out), drain=True)

    assert one.steps == other.steps == 3
    assert threads == {threading.current_thread().name}
    assert "one 2" in out.getvalue()


@pytest.mark.usefixtures("unblocked")
def test_what_cannot_be_drained_is_told() -> None:
    """With the reason; what could be done is done."""

    def fail() -> int:
        raise BrokerDown("no route")

    with pytest.raises(BrokerDown, match="not drained: relay redis: BrokerDown: no route"):
        serve(lambda stopping: [Work(fail, "relay redis")], OutputWrapper(StringIO()), drain=True)


def test_serving_ends_after_so_many_seconds() -> None:
    """And says what was done."""
    out = StringIO()

    serve(lambda stopping: [Work(lambda: 1, "busy")], OutputWrapper(out), seconds=0.05)

    assert out.getvalue().startswith("busy ")


def test_counts_of_several_threads_are_added_up() -> None:
    """Two relays of one name, on two aliases, are one figure."""
    meter = Meter(OutputWrapper(StringIO()))
    job = Metered(Work(lambda: 1), meter)
    threads = [threading.Thread(target=lambda: [job.step() for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert meter.counts == {"work": 4000}


# signals


@committing
@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_a_signal_ends_all_threads_of_an_idle_daemon(number: int) -> None:
    """With exit code 0, and soon."""
    bus.send(OpenTicket("one"))

    with processes.manage("cqrs_relay", "--consume") as daemon:
        processes.until(lambda: not Outbox.objects.exists() and not Inbox.objects.exists())
        daemon.send_signal(number)

        assert daemon.wait(processes.PATIENCE) == 0


@contextmanager
def hanging_process(limit: float) -> Generator[subprocess.Popen[str], None, None]:
    """Give a daemon that hangs."""
    process = processes.start("-m", "tests.desk.hanging", str(limit))
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.processes
def test_a_second_signal_ends_a_process_at_once() -> None:
    """Whatever it does, with exit code 1; the first waits for the end of the step."""
    with hanging_process(60) as daemon:
        daemon.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.wait(0.5)
        daemon.send_signal(signal.SIGTERM)

        assert daemon.wait(processes.PATIENCE) == 1


# the watchdog


@pytest.mark.processes
def test_a_process_that_hangs_ends_with_three_and_says_where() -> None:
    """For a supervisor to start another, and for somebody to look."""
    with hanging_process(0.2) as daemon:
        said, _ = daemon.communicate(timeout=processes.PATIENCE)

        assert daemon.returncode == HUNG
    assert "relay redis has been in one step" in said
    assert "threading.Event().wait()" in said


@define
class Hanging:
    """A consumer's worker in the middle of a step."""

    name: str = "consumer mailing"
    timeout: float = 10.0
    counts: Counts = field(factory=Counts)
    begun: threading.Event = field(factory=threading.Event)
    go_on: threading.Event = field(factory=threading.Event)

    def step(self) -> int:
        self.begun.set()
        assert self.go_on.wait(20)
        return 1


@pytest.fixture
def hanging() -> Iterator[tuple[Loop, Hanging, int]]:
    """Give a loop that hangs in a thread."""
    job, stop = Hanging(), Stop()
    loop = Loop([job], stop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    assert job.begun.wait(20)
    yield loop, job, thread.ident or 0
    stop.set()
    job.go_on.set()
    thread.join(20)


def test_a_step_that_hangs_is_told_once_with_the_place(
    hanging: tuple[Loop, Hanging, int], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever reads the log sees which line waits."""
    loop, job, thread = hanging
    watch = Watch(loop, job, limit_of(job))
    for _ in range(6):
        watch.look(10.0, thread)

    [told] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "consumer mailing has been in one step for 50 s" in told
    assert "assert self.go_on.wait(20)" in told
    assert watch.age == 50.0
    assert list(watch.trouble()) == ["consumer mailing: in one step for 50 s"]


def test_a_step_that_goes_on_hanging_ends_the_process(hanging: tuple[Loop, Hanging, int]) -> None:
    """Database and broker take back what it held, and a supervisor starts another."""
    loop, job, thread = hanging
    ends: list[int] = []
    watch = Watch(loop, job, limit_of(job), die=ends.append)
    for _ in range(9):
        watch.look(10.0, thread)
    assert ends == []

    watch.look(10.0, thread)

    assert ends == [HUNG]


def test_a_run_of_many_messages_does_not_hang(hanging: tuple[Loop, Hanging, int]) -> None:
    """One step handles up to fifty, and each has its time."""
    loop, job, thread = hanging
    watch = Watch(loop, job, limit_of(job))
    for _ in range(50):
        watch.look(30.0, thread)
        job.counts.handled += 1

    assert watch.age == 0.0


def test_what_hung_and_came_back_is_watched_anew(hanging: tuple[Loop, Hanging, int]) -> None:
    """The next step has its time as well."""
    loop, job, thread = hanging
    watch = Watch(loop, job, limit_of(job))
    for _ in range(6):
        watch.look(10.0, thread)
    job.go_on.set()
    processes.until(lambda: loop.steps > 1)

    watch.look(10.0, thread)

    assert watch.age == 0.0


def test_a_crew_watches_its_threads(caplog: pytest.LogCaptureFixture) -> None:
    """And ends the process by whatever it is told to end it with."""
    job, ended = Hanging(), list[int]()

    def die(code: int) -> None:
        ended.append(code)
        crew.stop.set()
        job.go_on.set()

    crew = crew_of(job, limit=lambda job: 0.3, die=die)
    crew.run()

    assert ended == [HUNG]
    assert "consumer mailing has been in one step" in caplog.text


def test_relays_have_a_minute_and_consumers_what_their_handlers_may_take() -> None:
    """And some time beyond it."""
    [relay] = relays(databases=["default"])

    assert limit_of(relay) == 60.0
    assert {limit_of(job) for job in consumers_without_database()} == {330.0}


def consumers_without_database() -> list[Any]:
    from simplecqrs.consumer import Consumer
    from simplecqrs.memory_queue import MemoryQueue

    return [Consumer(consumer="one", storage=MemoryQueue("inbox"), receive=lambda envelope: True, timeout=300.0)]


# how patient the jobs are


@committing
def test_jobs_of_one_queue_share_a_bell_and_others_do_not() -> None:
    """A commit wakes whom it concerns."""
    bells = Bells(Stop())
    jobs = {place_of(job): job for job in [*relays(), *consumers()]}

    assert set(jobs) == {
        ("default", "outbox:database"), ("audit", "outbox:database"), ("default", "inbox:tally"),
        ("default", "inbox:deferred"), ("audit", "inbox:deferred"),
    }  # fmt: skip
    rung = {place: bells.bell(job) for place, job in jobs.items()}
    assert jobs["default", "inbox:tally"].bell is rung["default", "inbox:tally"]
    bells.ring("default", ["inbox:tally", "inbox:stranger"])
    assert {place for place, bell in rung.items() if bell.rings} == {("default", "inbox:tally")}
    bells.ring("audit")
    assert {place for place, bell in rung.items() if bell.rings} == {
        ("default", "inbox:tally"), ("audit", "outbox:database"), ("audit", "inbox:deferred"),
    }  # fmt: skip


def test_idle_jobs_wait_longer_while_somebody_listens() -> None:
    """A second, and much less without a listener; what is not in the database nobody hears of."""
    bells = Bells(Stop())
    [relay, audit] = relays()
    caps = [bells.cap(relay), bells.cap(audit), bells.cap(Work(nothing))]
    polling = 0.02 if connection.vendor == "sqlite" else 0.05
    assert [cap() for cap in caps] == [polling, polling, 0.1]

    bells.hearing.add("default")

    assert [cap() for cap in caps] == [1.0, polling, 0.1]


def test_a_stop_wakes_whoever_waits_on_a_bell() -> None:
    """However long it would have waited."""
    stop = Stop()
    bells = Bells(stop)
    bells.hearing.add("default")
    [relay, _] = relays()
    bell = bells.bell(relay)
    began = time.monotonic()
    timer = threading.Timer(0.01, stop.set)
    timer.start()

    assert bell.wait(bell.rings, 20)
    assert time.monotonic() - began < 10
    timer.join()


def test_a_daemon_that_starts_before_its_database_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    """As one that runs does when the database goes away; what will not pass by itself is raised."""
    failures: list[Exception] = [OperationalError("server closed the connection"), OperationalError("refused")]

    def make(stopping: Callable[[], bool]) -> list[Any]:
        if failures:
            raise failures.pop(0)
        return [Work(nothing)]

    serve(make, OutputWrapper(StringIO()), seconds=0.05)

    assert failures == []
    assert caplog.text.count("cannot begin: OperationalError") == 2
    failures.append(OperationalError("no such table: x"))
    with pytest.raises(OperationalError, match="no such table"):
        serve(make, OutputWrapper(StringIO()))
