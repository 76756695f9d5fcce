"""The messages by which the consumer goes on with sagas: one for each call of a step that is begun, or to be begun."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

from attrs import frozen

from django_cqrs.conf import settings
from django_cqrs.queue import inbox
from django_cqrs.schedule import keep
from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidPayload
from simplecqrs.metadata import uuid7
from simplecqrs.queue import lane_of
from simplecqrs.saga.definition import Saga
from simplecqrs.saga.records import Record, Run
from simplecqrs.saga.waiting import CONSUMER

__all__ = ["GoOn", "hand_over", "is_to_go_on", "key_of", "read"]

#: What the names of these messages begin with; a saga's name follows.
PREFIX: Final = "saga."
#: The headers that say in which trace the saga was begun.
TRACE: Final = ("traceparent", "tracestate")
#: Bytes of such a message: it bears names and numbers.
LONGEST: Final = 4096


@frozen
class GoOn:
    """What the consumer is to do of a saga, if that is still to be done."""

    saga: str
    saga_id: UUID
    run: Run


def hand_over(alias: str, saga: Saga[Any] | None, record: Record, runs: Sequence[Run]) -> None:
    """Store a message for each, within the transaction that is open; schedule those that are to be done later."""
    made = [(run, _envelope(record, run, key=key_of(saga, record, run))) for run in runs]
    inbox(alias).append([(CONSUMER, lane_of(envelope), envelope) for run, envelope in made if not run.pause])
    later = [(timedelta(seconds=run.pause), CONSUMER, lane_of(one), one) for run, one in made if run.pause]
    if later:
        keep(alias, "inbox", later)


def is_to_go_on(envelope: Envelope) -> bool:
    """Tell whether a message of the consumer is one of these, and no event."""
    return envelope.kind == "command" and envelope.name.startswith(PREFIX) and envelope.topic == envelope.name


def read(envelope: Envelope) -> GoOn:
    """
    Return what a message says.

    Whoever could write to the consumer's broker could send one.  It does no more than what is to be done anyhow, if it
    lies in the lane of its saga, where one is handled at a time.

    Raises:
        InvalidPayload: if it is none of ours.
    """
    try:
        if len(envelope.payload) > LONGEST:
            raise ValueError("it is too long")
        said = json.loads(envelope.payload)
        run = Run(str(said["step"]), said["action"], int(said["attempt"]), bool(said["begun"]))
        found = GoOn(envelope.name.removeprefix(PREFIX), UUID(said["saga_id"]), run)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidPayload(f"{envelope.name} {envelope.id} does not say how a saga goes on: {error}") from None
    if envelope.key not in (str(found.saga_id), f"{found.saga_id}:{run.step}"):
        raise InvalidPayload(f"{envelope.name} {envelope.id} has the order key of something else: {envelope.key!r}")
    return found


def key_of(saga: Saga[Any] | None, record: Record, run: Run) -> str:
    """Return the order key: steps of a Parallel have lanes of their own."""
    step = saga.by_name.get(run.step) if saga is not None else None
    if saga is None or step is None or not saga.is_parallel(step):
        return str(record.id)
    return f"{record.id}:{run.step}"


def _envelope(record: Record, run: Run, *, key: str) -> Envelope:
    said = {"saga_id": str(record.id), "step": run.step, "action": run.action, "attempt": run.attempt}
    return Envelope(
        id=uuid7(),
        kind="command",
        name=f"{PREFIX}{record.saga}",
        topic=f"{PREFIX}{record.saga}",
        key=key,
        source=settings().source,
        time=datetime.now(timezone.utc),
        correlation_id=record.correlation_id or str(record.id),
        headers={name: record.headers[name] for name in TRACE if name in record.headers},
        payload=json.dumps({**said, "begun": run.begun}).encode(),
    )
