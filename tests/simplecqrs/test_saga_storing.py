"""Sagas that run on a storage with transactions of its own: outcomes that cannot be stored, and several at once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve, frozen

from simplecqrs import Mediator, NotificationEvent, Registry
from simplecqrs.backoff import Retry
from simplecqrs.saga import Parallel, Saga, Step, current_step, hand_in, recover, recover_one, wait_for
from simplecqrs.saga.sqlite import SQLiteSagas


@frozen
class Trip:
    """What the sagas are about."""

    number: int = 1
    notes: tuple[str, ...] = ()


@frozen
class Confirmed(NotificationEvent, topic="flights"):
    """Comes from the airline."""

    number: int


@pytest.fixture
def sagas(tmp_path: Path) -> Generator[SQLiteSagas, None, None]:
    """Return an empty storage."""
    sagas = SQLiteSagas(tmp_path / "sagas.sqlite3")
    yield sagas
    sagas.close()


@pytest.fixture
def other(sagas: SQLiteSagas, tmp_path: Path) -> Generator[sqlite3.Connection, None, None]:
    """Return a connection of somebody else."""
    sagas.find()  # makes the tables
    db = sqlite3.connect(tmp_path / "sagas.sqlite3", isolation_level=None, check_same_thread=False)
    yield db
    db.close()


def no_room(db: sqlite3.Connection, text: str) -> None:
    """Let the disk be full when a saga is stored whose progress has this text."""
    db.execute(
        f"CREATE TRIGGER full BEFORE UPDATE ON simplecqrs_sagas WHEN instr(NEW.progress, '{text}') "
        "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )


def bus_of(sagas: SQLiteSagas, *steps: Step[Trip] | Parallel[Trip]) -> tuple[Saga[Trip], Mediator]:
    """Return a saga of these steps and a mediator."""
    registry = Registry()
    definition = Saga("trip", Trip, steps, registry=registry)
    return definition, Mediator(registry, sagas=sagas)


def test_what_was_done_and_could_not_be_stored_is_asked_again_with_its_key(
    sagas: SQLiteSagas, other: sqlite3.Connection
) -> None:
    """It may have happened outside: no fallback takes its place."""
    keys: list[tuple[str, bool]] = []

    def book(_: Trip) -> None:
        if keys:
            other.execute("DROP TRIGGER full")
        keys.append((current_step().key.split(":", 2)[2], current_step().unknown))

    fallback = keys.clear
    step = Step[Trip]("book", book, lambda _: None, fallback=lambda _: fallback(), retry=Retry(2, first=0))
    definition, bus = bus_of(sagas, step)
    no_room(other, '"done"')

    with suppress(sqlite3.IntegrityError):
        definition.run(bus, Trip())
    recover(bus)

    assert [record.status for record in sagas.find()] == ["COMPLETED"]
    assert keys == [("book:act", False), ("book:act", True)]


def test_all_branches_that_end_at_the_same_moment_are_stored(sagas: SQLiteSagas) -> None:
    """Each gives way to the others until it has its turn."""
    meet = threading.Barrier(6, timeout=20)

    def branch(name: str) -> Step[Trip]:
        return Step(name, lambda _: print(meet.wait()), lambda _: None)

    definition, bus = bus_of(sagas, Parallel(*(branch(name) for name in "abcdef")))

    assert definition.run(bus, Trip()).status == "COMPLETED"


def test_a_script_that_is_interrupted_lets_go_of_its_saga(sagas: SQLiteSagas) -> None:
    """By Ctrl-C: the next one need not wait for its lease to end, and asks again what had begun."""
    attempts: list[int] = []

    def book(_: Trip) -> None:
        attempts.append(current_step().attempt)
        if len(attempts) == 1:
            raise KeyboardInterrupt

    definition, bus = bus_of(sagas, Step("book", book, lambda _: None))
    with pytest.raises(KeyboardInterrupt):
        definition.run(bus, Trip())

    assert [outcome.result and outcome.result.status for outcome in recover(bus)] == ["COMPLETED"]
    assert attempts == [1, 2]


def test_an_event_whose_deliverer_died_is_delivered_by_recovery(sagas: SQLiteSagas) -> None:
    """It was stored with the saga that waits for it."""
    waits = wait_for(Confirmed, key="number", then=lambda trip, event: evolve(trip, notes=(f"no {event.number}",)))
    definition, bus = bus_of(sagas, Step("confirmed", waits))
    saga_id = definition.run(bus, Trip()).saga_id
    payload = bus.vocabulary.codec(Confirmed).encode(Confirmed(1))

    sagas.hand_in(definition.place_of(definition.step("confirmed")), "1", payload)  # and dies

    assert _recovered(bus, saga_id) == [("COMPLETED", Trip(notes=("no 1",)))]


def test_an_event_that_came_early_outlives_whoever_looked_at_it(sagas: SQLiteSagas) -> None:
    """The saga that waits for it has it from the moment in which it waits."""
    confirmed = Step("confirmed", wait_for(Confirmed, key="number"))
    definition, bus = bus_of(sagas, Step("book", lambda _: None, lambda _: None), confirmed)
    hand_in(bus, Confirmed(1))

    steps = definition.steps(bus, Trip())
    next(steps)
    steps.close()  # waits, and its event was not taken
    [record] = sagas.find()

    assert record.status == "WAITING"
    assert _recovered(bus, record.id) == [("COMPLETED", Trip())]


def test_a_saga_may_do_nothing_but_wait(sagas: SQLiteSagas) -> None:
    """Its mediator has nothing to call, and says nothing against that."""
    definition, bus = bus_of(sagas, Step("confirmed", wait_for(Confirmed, key="number")))
    bus.check()

    assert definition.run(bus, Trip()).status == "WAITING"


def test_a_waiting_saga_that_is_taken_over_too_early_goes_on_waiting(sagas: SQLiteSagas) -> None:
    """A person may ask for it at any time."""
    definition, bus = bus_of(sagas, Step("confirmed", wait_for(Confirmed, key="number", timeout=timedelta(hours=1))))
    saga_id = definition.run(bus, Trip()).saga_id

    assert recover_one(bus, saga_id).status == "WAITING"

    assert recover(bus) == []
    assert hand_in(bus, Confirmed(1)) == [saga_id]
    assert recover_one(bus, saga_id).status == "COMPLETED"


def _recovered(bus: Mediator, saga_id: UUID) -> list[tuple[str, Trip]]:
    found: list[tuple[str, Trip]] = []
    for outcome in recover(bus):
        assert outcome.saga_id == saga_id
        assert outcome.result is not None, outcome.error
        found.append((outcome.result.status, outcome.result.state))
    return found


@pytest.mark.parametrize("saga_id", ["01a1fee7-cd37-76f6-8038-6d91d9209bc4", 7])
def test_an_id_that_is_no_uuid_is_refused(sagas: SQLiteSagas, saga_id: Any) -> None:
    """Before anything is stored: some databases would take it, and others not."""
    registry = Registry()
    saga = Saga("trip", Trip, [Step("a", lambda state: None)], registry=registry)
    bus = Mediator(registry, sagas=sagas)

    for call in (saga.run, saga.steps, saga.start):
        with pytest.raises(TypeError, match="saga_id= is a UUID, not"):
            call(bus, Trip(), saga_id=saga_id)
    assert sagas.find() == []
