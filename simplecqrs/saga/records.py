"""What is stored of a saga: where it is, what its steps came to, and its log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final, Literal, NamedTuple, cast
from uuid import UUID

from attrs import define, field

__all__ = [
    "ENDED",
    "SETTLED",
    "Action",
    "Entry",
    "Packed",
    "Phase",
    "Progress",
    "Record",
    "Run",
    "SagaStatus",
    "Waiting",
]

#: Where a saga is.  FAILED: undoing, or going forward after the pivot, was given up.  UNKNOWN: a step that may not be
#: asked again has no known outcome; a person has to say.
SagaStatus = Literal["RUNNING", "WAITING", "COMPLETED", "COMPENSATING", "COMPENSATED", "FAILED", "UNKNOWN", "CANCELLED"]
#: Statuses in which nothing happens any more by itself.
ENDED: Final = frozenset({"COMPLETED", "COMPENSATED", "CANCELLED", "FAILED", "UNKNOWN"})
#: Those of them in which a person cannot change anything either.
SETTLED: Final = frozenset({"COMPLETED", "COMPENSATED", "CANCELLED"})
#: What is called of a step.
Action = Literal["act", "fallback", "undo act", "undo fallback"]
#: What a step came to.  ready: to be begun; started: begun, and its outcome is not known yet; failed: it was given up;
#: unknown: it may not be asked again; stuck: undoing it was given up; skipped: a person said so.
Phase = Literal["ready", "started", "waiting", "done", "failed", "unknown", "undone", "stuck", "skipped"]


class Packed(NamedTuple):
    """A state as bytes, as it came from a storage."""

    data: bytes


class Progress(NamedTuple):
    """
    What a step came to.

    Attributes:
        action: what is, or was, called of it.
        attempts: how often that was begun.
        failures: how often it has failed, and would be tried again.
        unknown: whether one of the attempts ended without an outcome: it may have happened.
        pause: seconds to wait before it is begun.
        error: why it failed last.
        state: what a step of a ``Parallel`` has returned, until all of them have.
    """

    phase: Phase
    action: Action = "act"
    attempts: int = 0
    failures: int = 0
    unknown: bool = False
    pause: float = 0.0
    error: str = ""
    state: Any = None


class Entry(NamedTuple):
    """
    A line of a saga's log.

    Attributes:
        step: its name; empty: it is about the whole saga.
        action: what of it: one of ``Action``, or what a person did, ``cancel``.
        event: ``started``, ``completed``, ``failed``, ``unknown``, ``waiting``, ``asked``.
        at: seconds since 1970.
        who: the person who did it, if it was one.
    """

    step: str
    action: str
    event: str
    at: float
    attempt: int = 0
    error: str = ""
    who: str = ""

    @property
    def time(self) -> datetime:
        """Return when it was, in UTC."""
        return datetime.fromtimestamp(self.at, timezone.utc)


class Run(NamedTuple):
    """What is to be done next: an action of a step, begun already or still to be begun."""

    step: str
    action: Action
    attempt: int
    begun: bool
    pause: float = 0.0


class Waiting(NamedTuple):
    """
    What a step waits for.

    Attributes:
        place: of the saga and the step, under which an event is handed in.
        key: what the event's key must be.
        timeout: seconds until the step has failed.
    """

    step: str
    place: str
    key: str
    timeout: float | None


# To call dict[str, str] takes four times as long as to call dict.
_PROGRESS = cast("Callable[[], dict[str, Progress]]", dict)
_HEADERS = cast("Callable[[], Mapping[str, str]]", dict)
_ENTRIES = cast("Callable[[], list[Entry]]", list)
_WAITS = cast("Callable[[], list[Waiting]]", list)


@define(eq=False)
class Record:
    """
    A saga as it is stored.

    Args:
        saga: the name of its definition.
        state: as the steps see it, or ``Packed``.
        progress: what its steps came to, by their names.
        position: the step, or Parallel, that it is at; all before it are done.
        version: grows by one each time it is stored.
        fingerprint: of the definition that it was stored under.
        paused: a person has said that it is to rest.
        cancelled: a person has said that it is to be undone.
        error: why it turned round or was given up: what failed first.
        owner: who works on it in the foreground; empty: nobody, or the consumer.
        recoveries: how often it was taken over since it last went on.
        headers: what ``context(...)`` had set where it was begun; its steps' messages carry the same.
        entries: of the log, since it was stored last.
        waits: what it waits for, since it was stored last.
        ahead: whether a step is begun, if it may be asked twice, together with the end of the one before: that saves a
            transaction, where its worker is known to follow at once.  Not stored.
    """

    id: UUID
    saga: str
    state: Any
    status: SagaStatus = "RUNNING"
    progress: dict[str, Progress] = field(factory=_PROGRESS)
    position: int = 0
    version: int = 0
    fingerprint: str = ""
    paused: bool = False
    cancelled: bool = False
    error: str = ""
    owner: str = ""
    recoveries: int = 0
    correlation_id: str = ""
    headers: Mapping[str, str] = field(factory=_HEADERS)
    entries: list[Entry] = field(factory=_ENTRIES)
    waits: list[Waiting] = field(factory=_WAITS)
    ahead: bool = True

    @property
    def ended(self) -> bool:
        """Tell whether nothing happens any more by itself."""
        return self.status in ENDED
