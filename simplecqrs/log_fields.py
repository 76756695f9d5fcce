"""The fields of log lines about messages, under one naming: ``cqrs_message``, ``cqrs_id``, ``cqrs_queue`` and so on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Protocol

from simplecqrs.envelope import Envelope

__all__ = ["about", "about_row", "about_run", "about_saga", "at_work", "named", "printable", "who"]


class _Row(Protocol):
    """A row of a queue, which is above this layer."""

    @property
    def queue(self) -> str: ...
    @property
    def envelope(self) -> Envelope: ...
    @property
    def attempts(self) -> int: ...


class _AtWork(threading.local):
    row: _Row | None = None


#: ``at_work.row`` is the row that a consumer handles in this thread.
at_work = _AtWork()


def printable(text: str, *, keep: str = "") -> str:
    """Write what would begin a line of its own, act on a terminal, or turn a line round, as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def named(**facts: object) -> dict[str, Any]:
    """Return facts as fields of a log line, texts in one line; what is None, or empty, is left out."""
    there = {name: fact for name, fact in facts.items() if fact is not None and fact != ""}
    return {f"cqrs_{name}": printable(fact) if isinstance(fact, str) else fact for name, fact in there.items()}


def about(envelope: Envelope, **facts: object) -> dict[str, Any]:
    """Return the fields of a log line about a message, and further ones."""
    return named(
        message=envelope.name,
        id=str(envelope.id),
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        topic=envelope.topic,
        key=envelope.key,
        **who(envelope.headers),
        **facts,
    )


def who(headers: Mapping[str, str]) -> dict[str, str | None]:
    """Return for whom a message is handled, as its headers claim."""
    return {name: headers.get(name) for name in ("user", "tenant")}


def about_row(row: _Row, **facts: object) -> dict[str, Any]:
    """Return the fields of a log line about a message in a queue; ``attempts``: how often it has failed."""
    return about(row.envelope, **{"queue": row.queue, "attempts": row.attempts, **facts})


def about_saga(saga_id: object, **facts: object) -> dict[str, Any]:
    """Return the fields of a log line about a saga."""
    return named(saga_id=str(saga_id), **facts)


def about_run(record: Any, run: Any) -> dict[str, Any]:
    """Return the fields of a log line about a call of a saga's step."""
    facts = {"saga": record.saga, "step": run.step, "action": run.action, "correlation_id": record.correlation_id}
    return about_saga(record.id, **facts, attempts=run.attempt)
