"""The loop drives relays, fetchers and consumers."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from attrs import define, field

from simplecqrs import loop as module
from simplecqrs.bell import Bell, Stop
from simplecqrs.errors import BrokerDown
from simplecqrs.loop import Loop


@define(eq=False)
class Clock(threading.Event):
    """A stop event that is the clock as well: waiting for it takes no time."""

    now: float = 100.0
    waits: list[float] = field(factory=list)

    def __attrs_pre_init__(self) -> None:
        super().__init__()

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.now += timeout
        return self.is_set()

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@define
class Job:
    """Does what it is told, step by step; nothing once that is over."""

    answers: Iterator[object]
    name: str = "job"
    steps: int = 0

    def step(self) -> object:
        self.steps += 1
        answer = next(self.answers, 0)
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        return answer


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends, "it did not become so"
        time.sleep(0.001)


def job(*answers: object, name: str = "job") -> Job:
    return Job(iter(answers), name)


def test_draining_ends_when_there_is_nothing_to_do(clock: Clock) -> None:
    """It counts the steps that did something."""
    one = job(3, 2)

    assert Loop([one], clock).run(drain=True) == 2

    assert (one.steps, clock.waits) == (3, [])


def test_draining_goes_on_while_one_job_makes_work_for_another(clock: Clock) -> None:
    """Whatever their order: a consumer that had nothing to do is asked again when the relay had."""
    outbox, feed, inbox = [1, 2, 3], list[int](), list[int]()

    def move(source: list[int], target: list[int]) -> Iterator[Callable[[], int]]:
        while True:
            yield lambda: len([target.append(source.pop()) for _ in source[:1]])

    done: list[int] = []
    jobs = [Job(move(inbox, done)), Job(move(feed, inbox)), Job(move(outbox, feed))]

    Loop(jobs, clock).run(drain=True)

    assert sorted(done) == [1, 2, 3]


def test_draining_does_not_wait_for_what_is_down(clock: Clock) -> None:
    """A broker that is down would keep it for ever."""
    down, healthy = job(*[BrokerDown("no")] * 9), job(1, 1)

    assert Loop([down, healthy], clock).run(drain=True) == 2

    assert (down.steps, clock.waits) == (1, [])


def test_a_loop_without_jobs_drains_at_once(clock: Clock) -> None:
    """Nothing is to be done."""
    assert Loop([], clock).run(drain=True) == 0
    assert Loop([], clock).run(seconds=1) == 0


def test_seconds_bound_the_loop(clock: Clock) -> None:
    """A tick ends in time, idle or busy."""

    def busy() -> Iterator[Callable[[], int]]:
        while True:
            yield work

    def work() -> int:
        clock.now += 0.4
        return 1

    assert Loop([Job(busy())], clock).run(seconds=1) == 3
    started = clock.now
    assert Loop([job()], clock).run(seconds=1) == 0
    assert clock.now - started == pytest.approx(1)


def test_idle_jobs_are_asked_less_and_less_often_and_at_once_when_there_was_work(clock: Clock) -> None:
    """From 2 to 100 milliseconds, and back."""
    Loop([job(1, *[0] * 8, 1)], clock).run(seconds=1)

    waits = [round(1000 * wait) for wait in clock.waits]
    assert waits[:8] == [2, 4, 8, 16, 32, 64, 100, 100]
    assert waits[8] == 2


def test_an_idle_job_is_let_be_as_long_as_the_cap_says(clock: Clock) -> None:
    """It is asked each time: a listener may be lost, and come back."""
    caps = iter([1.0] * 12 + [0.05] * 100)

    Loop([job()], clock, cap=lambda: next(caps)).run(seconds=6)

    waits = [round(1000 * wait) for wait in clock.waits]
    assert waits[:13] == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000, 50]


def test_an_idle_loop_asks_about_once_a_second_where_a_bell_is_sure_to_ring(clock: Clock) -> None:
    """An hour of it costs little more than its seconds."""
    idle = job()

    Loop([idle], clock, cap=lambda: 1.0).run(seconds=60)

    assert idle.steps <= 70


@define
class Waiting:
    """Tells when it has nothing to do, and waits for the test with that."""

    name: str = "waiting"
    steps: int = 0
    idle: threading.Event = field(factory=threading.Event)
    go_on: threading.Event = field(factory=threading.Event)

    def step(self) -> int:
        self.steps += 1
        if self.steps == 1:
            self.idle.set()
            self.go_on.wait(20)
        return 0


@contextmanager
def running(loop: Loop, stop: Stop) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()


def patient(work: Waiting | Job, stop: Stop) -> Loop:
    """Return a loop that would wait for an hour, and its bell."""
    return Loop([work], stop, bell=stop.rings(Bell()), cap=lambda: 3600.0)


def test_a_ring_wakes_all_loops_that_wait_on_the_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its thread, however long it would have waited."""
    monkeypatch.setattr(module, "IDLE_FIRST", 3600.0)
    stop, bell, woken = Stop(), Bell(), [threading.Event() for _ in range(3)]
    stop.rings(bell)
    idle = [threading.Event() for _ in range(3)]

    def answers(number: int) -> Iterator[Callable[[], int]]:
        yield lambda: idle[number].set() or 0
        yield lambda: woken[number].set() or 0

    with ExitStack() as stack:
        for number in range(3):
            loop = Loop([Job(answers(number))], stop, bell=bell, cap=lambda: 3600.0)
            stack.enter_context(running(loop, stop))
        assert all(event.wait(20) for event in idle)
        bell.ring()

        assert all(event.wait(20) for event in woken)


def test_a_ring_while_a_step_runs_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step has looked already, and the loop would wait for an hour."""
    monkeypatch.setattr(module, "IDLE_FIRST", 3600.0)
    stop, work = Stop(), Waiting()
    loop = patient(work, stop)
    with running(loop, stop):
        assert work.idle.wait(20)
        assert loop.current is work
        loop.bell.ring()  # type: ignore[union-attr]
        work.go_on.set()

        until(lambda: work.steps == 2)


def test_a_ring_does_not_hurry_what_is_down(clock: Clock) -> None:
    """A broker that is down is not asked more often because there is more for it."""
    bell = Bell()

    def ring() -> int:
        bell.ring()
        clock.now += 0.001
        return 1

    down, busy = job(*[BrokerDown("no")] * 1000), job(*[ring] * 1000)
    Loop([down, busy], clock, bell=bell).run(seconds=0.5)

    assert busy.steps > 400
    assert down.steps <= 4


def test_a_stop_that_rings_ends_the_longest_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does that of a loop without a bell."""
    monkeypatch.setattr(module, "IDLE_FIRST", 3600.0)
    for with_bell in (True, False):
        stop, work = Stop(), Waiting()
        work.go_on.set()
        loop = patient(work, stop) if with_bell else Loop([work], stop, cap=lambda: 3600.0)
        with running(loop, stop) as thread:
            assert work.idle.wait(20)
            stop.set()
            thread.join(20)

            assert not thread.is_alive()


def test_a_stop_that_was_set_before_rings_a_new_bell() -> None:
    """Nobody waits on it in vain."""
    stop = Stop()
    stop.set()

    assert stop.rings(Bell()).rings == 1
    assert stop.wait(3600) is stop.is_set() is True


def test_a_stop_may_be_set_by_whom_it_interrupts() -> None:
    """A signal handler runs in the main thread, which may be about to wait."""
    stop = Stop()
    bell = stop.rings(Bell())
    with bell._condition:  # where the handler interrupts it
        stop.set()

    assert bell.wait(0, 3600)


def test_waiting_on_a_bell_gives_up_in_time() -> None:
    """And says so."""
    bell = Bell()

    assert not bell.wait(bell.rings, 0.001)
    assert not Stop().wait(0.001)


def test_a_job_that_is_down_pauses_growingly_says_so_and_comes_back(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its pauses double from 0.1 s to 5 s, give or take a fifth."""
    at: list[float] = []

    def fail() -> Exception:
        at.append(clock.now)
        return BrokerDown("no route")

    def work() -> int:
        at.append(clock.now)
        clock.set()
        return 1

    caplog.set_level(logging.WARNING)
    loop = Loop([job(*[fail] * 12, work, name="relay redis")], clock)

    loop.run()

    pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
    for pause, expected in zip(pauses, [0.1 * 2**n for n in range(6)] + [5] * 6, strict=True):
        assert 0.8 * min(expected, 5) <= pause <= 1.2 * min(expected, 5)
    assert "relay redis: BrokerDown: no route; nothing is lost, next attempt in 0.1 s" in caplog.text
    assert "relay redis is back after 12 failures" in caplog.text
    assert loop.down == []


def test_a_job_that_is_down_is_told_with_its_reason(clock: Clock) -> None:
    """For the live line."""
    loop = Loop([job(BrokerDown("no route"), name="relay redis"), job(name="relay rabbit")], clock)

    loop.run(drain=True)

    assert loop.down == ["relay redis: BrokerDown: no route"]


def test_other_jobs_go_on_while_one_is_down(clock: Clock) -> None:
    """A broker that is down delays no other."""
    down, healthy = job(*[BrokerDown("no")] * 1000), job(*[1] * 500)

    Loop([down, healthy], clock).run(seconds=2)

    assert healthy.steps > 500
    assert down.steps < 10


def test_an_error_that_is_not_recovered_is_raised(clock: Clock) -> None:
    """A bug is not waited for."""
    with pytest.raises(ZeroDivisionError):
        Loop([job(ZeroDivisionError())], clock).run()


def test_an_error_that_is_recovered_pauses_the_job(clock: Clock) -> None:
    """As a broker that is down does; the callback is asked each time."""
    asked: list[Exception] = []
    error = OSError("the database is gone")

    def recover(error: Exception) -> bool:
        asked.append(error)
        return isinstance(error, OSError)

    loop = Loop([job(error, 1)], clock, recover)
    loop.run(drain=True)
    assert loop.down == ["job: OSError: the database is gone"]

    assert loop.run(seconds=1) == 1

    assert asked == [error]
    assert loop.down == []


def test_a_stop_finishes_the_step_and_begins_no_other(clock: Clock) -> None:
    """Neither of this job nor of the next."""

    def stop() -> int:
        clock.set()
        return 1

    first, second = job(stop, 1), job(1)

    assert Loop([first, second], clock).run() == 1

    assert (first.steps, second.steps) == (1, 0)


def test_a_stop_ends_a_pause() -> None:
    """Nobody waits thirty seconds for a loop that waits for a broker."""
    stop, down = threading.Event(), threading.Event()

    def fail() -> Exception:
        down.set()
        return BrokerDown("no")

    loop = Loop([job(*[fail] * 1000)], stop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    down.wait(20)

    stop.set()
    thread.join(20)

    assert not thread.is_alive()
