"""The loop drives relays, fetchers and consumers."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from attrs import define, field

from simplecqrs import loop as module
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
    """From 5 to 100 milliseconds, and back."""
    Loop([job(1, *[0] * 7, 1)], clock).run(seconds=1)

    waits = [round(1000 * wait) for wait in clock.waits]
    assert waits[:7] == [10, 20, 40, 80, 100, 100, 100]
    assert waits[7] == 10


def test_a_job_that_is_down_pauses_growingly_says_so_and_comes_back(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its pauses double from 0.1 s to 30 s, give or take a fifth."""
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
    for pause, expected in zip(pauses, [0.1 * 2**n for n in range(9)] + [30] * 3, strict=True):
        assert 0.8 * min(expected, 30) <= pause <= 1.2 * min(expected, 30)
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
