"""How many sagas are where, and which of them somebody has to look at; at a cost that does not grow with them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from attrs import frozen

from django_cqrs.alarms import Limits
from django_cqrs.bounded import capped, count_each, queues_of
from django_cqrs.inspection import DjangoInspection
from django_cqrs.management.letters import count_of
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Saga
from django_cqrs.saga_acts import STATUSES
from django_cqrs.saga_preflight import lost_steps
from simplecqrs.letters import cause_of
from simplecqrs.saga.adopting import sagas_of
from simplecqrs.saga.definition import Saga as Definition

__all__ = ["SagaCount", "saga_alarms", "saga_counts", "trouble_of"]

#: Statuses in which a saga waits for a person, and what that means.
STUCK: Final = {
    "FAILED": "were given up, undoing or after their pivot",
    "UNKNOWN": "have a step of which nobody knows whether it happened",
}
#: Statuses in which a saga needs its definition.
OPEN: Final = ("RUNNING", "WAITING", "COMPENSATING")
#: Sagas of each status whose steps are compared with their definition.
OLDEST: Final = 500
#: What is said of a step without outcome that has raised nothing.
GONE: Final = "its worker did not come back"


@frozen
class SagaCount:
    """How many sagas of a database have a status; numbers stop at 10,001."""

    database: str
    status: str
    count: int


def saga_counts(alias: str) -> list[SagaCount]:
    """Count the sagas of an alias by status; those that are nowhere are left out."""
    counts = count_each(alias, [(f"{Saga._meta.db_table} WHERE status = %s", [status]) for status in STATUSES])
    return [SagaCount(alias, status, count) for status, count in zip(STATUSES, counts, strict=True) if count]


def trouble_of(row: Saga) -> str:
    """
    Return what went wrong with a saga, in a line: why it turned round, or why a step waits for its next attempt.

    What could not be undone, and what nobody knows the outcome of, is named as well: somebody has to settle it.
    """
    if row.status == "COMPLETED":
        return cause_of(row.error)
    steps = json.loads(row.progress).items()
    lines = [cause_of(row.error)] if row.error else []
    for name, step in steps:
        if step["phase"] == "stuck":
            lines.append(f"not undone: {name}: {cause_of(step['error'])}")
        elif step["phase"] == "unknown":
            lines.append(f"{name}: {cause_of(step.get('error', '')) or GONE}")
    return "; ".join(dict.fromkeys(lines)) or next(
        (f"{name}: {cause_of(step['error'])}" for name, step in steps if step.get("error")), ""
    )


def saga_alarms(inspection: DjangoInspection, limits: Limits) -> Iterator[str]:
    """Go through what is wrong with the sagas of one alias."""
    stored = Saga.objects.using(inspection.alias)
    for status, means in STUCK.items():
        stuck = stored.filter(status=status)
        first = stuck.order_by("created_at").only("id", "saga", "error", "progress").first()
        if first is not None:
            why = f": {trouble}" if (trouble := trouble_of(first)) else ""
            yield (
                f"{count_of(capped(stuck))} sagas are {status}, they {means}; the first, {first.saga} {first.id}{why}; "
                f"see cqrs_sagas list --status {status}"
            )
    late = stored.filter(due_at__lt=inspection.now() - timedelta(seconds=limits.age))
    if late.exists():
        yield f"{count_of(capped(late))} sagas have been due for {limits.age:,.0f} s; does cqrs_sagas recover run?"
    yield from _orphans(inspection)


def _orphans(inspection: DjangoInspection) -> Iterator[str]:
    """Tell of sagas that cannot go on, since nobody knows their definition any more, or their step."""
    stored, known = Saga.objects.using(inspection.alias), sagas_of(project_mediator())
    for name in queues_of(stored, "saga"):
        if name not in known and (waiting := capped(stored.filter(saga=name, status__in=OPEN))):
            yield f"{count_of(waiting)} sagas wait for the definition {name!r}, which is not here any more"
    yield from _lost(stored, known)


def _lost(stored: Any, known: Mapping[str, Definition[Any]]) -> Iterator[str]:
    """
    Tell of steps that are gone, or have another name than who waits in them knows.

    Only the oldest are looked at: those that were begun before a deploy, and are left when others have ended.
    """
    lost = dict[tuple[str, str], str]()
    for status in OPEN:
        oldest = (
            stored.filter(status=status).order_by("created_at").values_list("id", "saga", "fingerprint", "progress")
        )
        for saga_id, name, fingerprint, progress in oldest[:OLDEST]:
            if name in known and known[name].fingerprint != fingerprint:
                for _, why in lost_steps(known[name], progress):
                    lost.setdefault((name, why), f"sagas {name!r} cannot go on, the first is {saga_id}: {why}")
    yield from lost.values()
