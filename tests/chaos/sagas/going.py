"""How a saga is gone through to its end, in the foreground or by the consumer, by whoever comes next."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from simplecqrs.saga import Saga
from tests.chaos.project.lab import query
from tests.chaos.project.way import WAY, replace, watch_statements
from tests.chaos.sagas.judging import Call, Effect, Findings, Line

__all__ = ["MODES", "Chosen", "clear", "findings", "watch_sagas"]

#: How long a way may take, in seconds.
PATIENCE = float(os.environ.get("CHAOS_LAB_PATIENCE", "20"))
ENDS = ("COMPLETED", "COMPENSATED", "FAILED", "UNKNOWN")
TABLES = (
    "chaos_sagaeffect", "cqrs_saga_entry", "cqrs_saga_wait", "cqrs_saga_mail", "cqrs_saga", "cqrs_inbox",
    "cqrs_inbox_parked", "cqrs_blocked", "cqrs_scheduled", "cqrs_dead", "cqrs_seen", "cqrs_outbox",
)  # fmt: skip


class Chosen:
    """The saga that is gone through."""

    id = UUID(int=7)


def watch_sagas() -> None:
    """Let each call of the storage, each commit and each move of the consumer be a point of the way."""
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_cqrs.held import HeldLanes
    from django_cqrs.sagas import DjangoSagas

    watch_statements()
    for call in ("create", "save", "later", "claim", "release", "hand_in"):
        replace(DjangoSagas, call)
    for call in ("read", "done", "park"):
        replace(HeldLanes, call)
    replace(BaseDatabaseWrapper, "_commit")


def in_foreground(saga: Saga[Any]) -> None:
    """Run it; or recover it, if it is there already."""
    from django_cqrs import bus
    from django_cqrs.consumers import consumers
    from django_cqrs.saga_recovery import recover
    from simplecqrs.saga import hand_in
    from tests.chaos.sagas.stories import Came, Tale

    expire()
    jobs = consumers("sagas") if _waits(saga) else []
    for _ in _tries(saga.name):
        if not query("SELECT status FROM cqrs_saga"):
            with _step("runner"):
                saga.run(bus, Tale(), saga_id=Chosen.id)
        elif status() == "WAITING":
            with _step("hander"):
                hand_in(bus, Came("one"))
        elif jobs and query("SELECT 1 FROM cqrs_inbox"):  # what has waited is gone on with by the consumer
            _go_round(jobs)
        else:
            with _step("recovery"):
                recover(bus)


def by_consumer(saga: Saga[Any]) -> None:
    """Start it, and let the consumer's process do the rest."""
    from django_cqrs import bus
    from django_cqrs.consumers import consumers
    from django_cqrs.promotion import promoters
    from django_cqrs.relay import relays
    from tests.chaos.sagas.stories import Tale

    expire()
    if not query("SELECT status FROM cqrs_saga"):
        with _step("starter"):
            saga.start(bus, Tale(), saga_id=Chosen.id)
    shipping = relays(routes=["database"], databases=["default"]) if _waits(saga) else []
    jobs: list[Any] = [*promoters(["default"]), *shipping, *consumers("sagas")]
    for _ in _tries(saga.name):
        if status() == "WAITING" and not query("SELECT 1 FROM cqrs_outbox UNION ALL SELECT 1 FROM cqrs_inbox"):
            _tell(bus)
        _go_round(jobs)


def _go_round(jobs: list[Any]) -> None:
    for job in jobs:
        with WAY.step(type(job).__name__.lower()) as done:
            done.append(job.step())


def _waits(saga: Saga[Any]) -> bool:
    return any(step.waits for step in saga.by_name.values())


MODES: dict[str, Callable[[Saga[Any]], None]] = {"foreground": in_foreground, "inbox": by_consumer}


def _tell(bus: Any) -> None:
    """Publish what the saga waits for."""
    from django.db import transaction

    from tests.chaos.sagas.stories import Came

    with _step("teller"), transaction.atomic():
        bus.publish(Came("one"))


@contextmanager
def _step(role: str) -> Iterator[None]:
    with WAY.step(role) as does:
        does.append(True)
        yield


def _tries(name: str) -> Iterator[None]:
    ends = time.monotonic() + PATIENCE
    while status() not in ENDS:
        if time.monotonic() > ends:
            raise TimeoutError(f"{name} has not ended in {PATIENCE} s")
        yield


def status() -> str:
    """Return where the saga is."""
    found = query("SELECT status FROM cqrs_saga")
    return found[0][0] if found else "not begun"


def expire() -> None:
    """Let the lease of who has died be over."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE cqrs_saga SET due_at = created_at WHERE due_at IS NOT NULL AND status <> 'WAITING'")


def clear() -> None:
    """Take back all that was done."""
    from django.db import connection, transaction

    from tests.chaos.sagas.stories import CALLS

    with transaction.atomic(), connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")
    connection.close()
    CALLS.unlink(missing_ok=True)


def findings() -> Findings:
    """Return what is found."""
    from django.db import connection

    from tests.chaos.sagas.stories import CALLS

    lines = CALLS.read_text().splitlines() if CALLS.exists() else []
    found = Findings(
        status(),
        [Effect(*row) for row in query("SELECT place, what, n FROM chaos_sagaeffect")],
        [Line(*row) for row in query("SELECT step, action, event, attempt FROM cqrs_saga_entry ORDER BY id")],
        [Call(*json.loads(line)) for line in lines],
    )
    connection.close()
    return found
