"""Sagas as lines of text, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from django.utils.timezone import now

from django_cqrs.masking import shown_state
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Saga
from django_cqrs.saga_acts import SETTLED
from django_cqrs.saga_status import trouble_of
from simplecqrs.saga import Entry, Record
from simplecqrs.saga.states import pack

__all__ = ["as_json", "list_sagas", "show_saga", "summary"]

#: Characters of an error that are shown in a list.
BRIEF = 100


def summary(row: Saga, *, known: bool) -> dict[str, Any]:
    """Return what a list tells of a saga; ``known``: its definition is here."""
    progress = json.loads(row.progress)
    return {
        "id": str(row.id),
        "saga": row.saga,
        "status": row.status,
        "step": next(reversed(progress), ""),
        "paused": row.paused,
        "cancelled": row.cancelled,
        "created_at": row.created_at.isoformat(),
        "updated_at": row.updated_at.isoformat(),
        "due_at": row.due_at.isoformat() if row.due_at else None,
        "recoveries": row.recoveries,
        "error": trouble_of(row),
        "known": known,
    }


def list_sagas(rows: Sequence[Saga], known: set[str]) -> Iterator[str]:
    """Write a line for each."""
    if not rows:
        yield "no sagas"
        return
    yield f"{'id':36}  {'saga':20} {'status':12} {'step':20} {'changed':>10}"
    for row in rows:
        said = summary(row, known=row.saga in known)
        remarks = [
            *(["paused"] if row.paused else []),
            *([] if said["known"] or row.status in SETTLED else ["no definition of this name is here"]),
            *([said["error"][:BRIEF]] if said["error"] else []),
        ]
        line = f"{row.id}  {row.saga:20} {row.status:12} {said['step']:20} {_age(row.updated_at):>10}"
        yield f"{line}  {'; '.join(remarks)}".rstrip()


def show_saga(record: Record, history: Sequence[Entry], *, known: bool, held: str = "") -> Iterator[str]:
    """Write all that is known of one: where it is, its steps, its state, its log."""
    for name in ("id", "saga", "status", "paused", "cancelled", "owner", "recoveries", "correlation_id", "error"):
        yield f"{name:15} {getattr(record, name)}"
    if not known:
        yield f"{'definition':15} none of this name is here: it waits until one is deployed"
    if held:
        yield f"{'held up':15} {held}"
    yield f"{'state':15} {_state(record)}"
    yield "steps"
    for name, progress in record.progress.items():
        error = f"  {progress.error}" if progress.error else ""
        yield f"    {name:20} {progress.action:13} {progress.phase:9} attempt {progress.attempts}{error}"
    yield "log"
    for entry in history:
        yield f"    {_line(entry)}"


def as_json(record: Record, history: Sequence[Entry], *, known: bool, held: str = "") -> dict[str, Any]:
    """Return all that is known of one, as JSON can say it."""
    plain = ("saga", "status", "paused", "cancelled", "owner", "recoveries", "correlation_id", "error", "version")
    return {
        "id": str(record.id),
        **{name: getattr(record, name) for name in plain},
        "known": known,
        "held": held,
        "state": _state(record),
        "steps": {name: step._replace(state=None)._asdict() for name, step in record.progress.items()},
        "log": [{**entry._asdict(), "at": entry.time.isoformat()} for entry in history],
    }


def _line(entry: Entry) -> str:
    attempt = f" (attempt {entry.attempt})" if entry.attempt > 1 else ""
    who = f" by {entry.who}" if entry.who else ""
    error = f": {entry.error}" if entry.error else ""
    what = f"{entry.action} {entry.event}{attempt}{who}{error}"
    return f"{entry.time:%Y-%m-%d %H:%M:%S.%f}  {entry.step or '-':20} {what}"


def _state(record: Record) -> str:
    return shown_state(record.saga, pack(record.state, project_mediator().sagas.codec))


def _age(moment: datetime) -> str:
    seconds = (now() - moment.astimezone(timezone.utc)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
