"""What the sagas of the lab of scripts do: effects in a file of its own, once for each key."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve, frozen

from simplecqrs import Mediator, Registry
from simplecqrs.backoff import Retry
from simplecqrs.saga import Parallel, Saga, SagaStorage, Step, current_step

__all__ = ["Effects", "Trip", "buses"]

TABLES = (
    "CREATE TABLE IF NOT EXISTS calls (key TEXT)",
    "CREATE TABLE IF NOT EXISTS effects (key TEXT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS forbidden (key TEXT PRIMARY KEY)",
)


@frozen
class Trip:
    """What the sagas are about."""

    done: tuple[str, ...] = ()


class Effects:
    """A service that honours keys: it does once what it is asked for twice, and not what was undone before it came."""

    point: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    def __init__(self, path: Path) -> None:
        self._path = path

    def call(self, key: str, undoes: str = "") -> None:
        """Have an effect, unless there was one of this key, or it was undone before."""
        db = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        db.execute("BEGIN IMMEDIATE")
        for table in TABLES:
            db.execute(table)
        db.execute("INSERT INTO calls VALUES (?)", (key,))
        db.execute("INSERT OR IGNORE INTO forbidden SELECT ? WHERE ? <> ''", (undoes, undoes))
        db.execute(
            "INSERT OR IGNORE INTO effects SELECT ? WHERE NOT EXISTS (SELECT 1 FROM forbidden WHERE key = ?)",
            (key, key),
        )
        db.execute("COMMIT")
        db.close()

    def read(self, table: str) -> list[str]:
        """Return the keys of all effects, or of all calls."""
        db = sqlite3.connect(self._path, isolation_level=None)
        for statement in TABLES:
            db.execute(statement)
        rows = db.execute(f"SELECT key FROM {table}").fetchall()
        db.close()
        return [row[0] for row in rows]

    def act(self, state: Trip) -> Trip:
        """Have the effect of the step that is being called."""
        step = current_step()
        self.point()
        self.call(step.key, step.undoes)
        return state if step.undoes else evolve(state, done=(*state.done, step.step))

    def step(self, name: str, **others: Any) -> Step[Trip]:
        """Return a step that has an effect, and that can be undone."""
        return Step(name, self.act, self.act, **others)

    def failing(self, name: str, **others: Any) -> Step[Trip]:
        """Return a step that fails, with no effect."""

        def fail(_: Trip) -> None:
            self.point()
            raise LookupError("no room")

        return Step(name, fail, self.act, **others)


def buses(effects: Effects, sagas: SagaStorage) -> dict[str, tuple[Saga[Trip], Mediator]]:
    """Return the definitions, each with its mediator."""
    step, failing = effects.step, effects.failing
    again = Retry(2, first=0.0)
    definitions = {
        "goes through": [step("a"), step("b"), step("c", pivot=True)],
        "turns round": [step("a"), step("b"), failing("c")],
        "falls back": [step("a"), failing("b", fallback=effects.act, retry=again), step("c", pivot=True)],
        "side by side": [Parallel(step("a"), step("b")), step("c", pivot=True)],
    }
    return {name: _bus(name, steps, sagas) for name, steps in definitions.items()}


def _bus(name: str, steps: Any, sagas: SagaStorage) -> tuple[Saga[Trip], Mediator]:
    registry = Registry()
    return Saga(name.replace(" ", "-"), Trip, steps, registry=registry), Mediator(registry, sagas=sagas)
