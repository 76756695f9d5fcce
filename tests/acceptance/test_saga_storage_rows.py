"""Acceptance rows of where sagas are kept: 82."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeAlias

import pytest
from attrs import define, frozen

from simplecqrs import Mediator, Registry
from simplecqrs.errors import SagaBusy, SagaMovedOn
from simplecqrs.saga import MemorySagas, Saga, SagaStorage, Step, recover
from simplecqrs.saga.sqlite import SQLiteSagas

PassTime: TypeAlias = Callable[[float], None]


@frozen
class Trip:
    """What the sagas are about."""

    number: int = 1


@define
class Clock:
    """A clock that is moved by hand."""

    now: float = 0.0


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[tuple[SagaStorage, PassTime], None, None]:
    """Give each storage of the core in turn, with a way to let time pass for it; Django's has a test of its own."""
    if request.param == "memory":
        clock = Clock()
        yield MemorySagas(clock=lambda: clock.now), lambda seconds: setattr(clock, "now", clock.now + seconds)
        return
    sagas = SQLiteSagas(tmp_path / "sagas.sqlite3")

    def move(seconds: float) -> None:
        db = sqlite3.connect(tmp_path / "sagas.sqlite3")
        with db:
            db.execute("UPDATE simplecqrs_sagas SET due = due - ?", (seconds,))
        db.close()

    yield sagas, move
    sagas.close()


# In memory nobody is taken for dead: who works there ends with the storage.
@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
def test_row_82_whoever_was_taken_for_dead_commits_nothing(storage: tuple[SagaStorage, PassTime]) -> None:
    """Its step has gone on for too long, another worker has it done meanwhile: the engine compares versions."""
    sagas, pass_time = storage
    calls: list[int] = []
    registry = Registry()

    def book(_: Trip) -> None:
        calls.append(len(calls))
        if len(calls) == 1:  # this worker sleeps, and another one takes over and finishes
            pass_time(3600)
            other = threading.Thread(target=lambda: outcomes.extend(recover(bus)))
            other.start()
            other.join(20)

    saga = Saga("trip", Trip, [Step("book", book, lambda _: None), Step("end", lambda _: None)], registry=registry)
    bus, outcomes = Mediator(registry, sagas=sagas), list[object]()

    with pytest.raises(SagaMovedOn):
        saga.run(bus, Trip())

    [record] = sagas.find()
    log = [(line.step, line.event) for line in sagas.history(record.id)]
    assert record.status == "COMPLETED"
    assert (len(calls), log.count(("book", "completed")), log.count(("end", "completed"))) == (2, 1, 1)


def test_row_82_a_saga_that_is_at_work_is_not_run_by_a_second_one(storage: tuple[SagaStorage, PassTime]) -> None:
    """Who asks for it by its id is told; nothing is stale."""
    sagas, _ = storage
    told: list[str] = []
    registry = Registry()

    def book(_: Trip) -> None:
        [record] = sagas.find()
        with pytest.raises(SagaBusy):
            saga.run(bus, Trip(), saga_id=record.id)
        told.append(str(recover(bus)))

    saga = Saga("trip", Trip, [Step("book", book, lambda _: None)], registry=registry)
    bus = Mediator(registry, sagas=sagas)

    assert saga.run(bus, Trip()).status == "COMPLETED"
    assert told == ["[]"]
