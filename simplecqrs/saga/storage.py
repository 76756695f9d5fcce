"""The port of what keeps sagas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from simplecqrs.codec import Codec
from simplecqrs.saga.records import Entry, Record, Run, SagaStatus

__all__ = ["SagaStorage"]


class SagaStorage(Protocol):
    """
    Keeps sagas and their logs.  Threads share one.

    ``create``, ``save``, ``later`` and ``hand_in`` join the transaction that is open, if their database is that of the
    steps' own writes; else each is a transaction of its own.

    Attributes:
        keeps_objects: whether states are kept as they are; else they come as ``Packed``.
        joins: whether what is saved within a step's unit of work shares its fate; if not, a step's outcome is saved
            after that.
        codec: makes bytes of states.
        has_consumer: whether what is said to be done ``later`` is done by a consumer; else by whoever recovers sagas.
        parallel: whether threads may write at the same time here.
    """

    keeps_objects: bool
    joins: bool
    codec: Codec
    has_consumer: bool

    @property
    def parallel(self) -> bool: ...

    def create(self, record: Record, /, *, lease: float | None) -> bool:
        """
        Store a new saga, with its log and what it waits for; False, and nothing stored, if there is one of its id.

        Args:
            lease: seconds for which its owner keeps it from others, by the storage's clock; None: nobody works on it
                in the foreground.  Without a consumer it is stale at once then, so that it is not lost if ``later`` is
                not reached.
        """
        ...

    def load(self, saga_id: UUID, /, *, lock: bool = False) -> Record | None:
        """
        Return a saga, or None.

        Args:
            lock: read what is committed last, and let nobody change it before the transaction that is open ends.
        """
        ...

    def save(self, record: Record, /, *, lease: float | None) -> None:
        """
        Store a saga, its new log and what it waits for now, and count its version on.

        What a step waited for that does not wait any more is forgotten, together with the event that came for it.  A
        saga that waits is held by nobody, and is stale when the first of its times to wait is over; but if an event
        has come for it already, it stays with its owner for so long as its lease, or is stale at once.

        Args:
            lease: as in ``create``; a saga that has ended is never stale, nor is one that rests and has no owner.

        Raises:
            SagaMovedOn: if its version is another one than it was when this record was read, or if it is not there any
                more; nothing is stored, and the record keeps its log and what it waits for.
        """
        ...

    def later(self, record: Record, runs: Sequence[Run], /) -> None:
        """
        Have somebody else do this: a consumer, in the order of the saga, or whoever recovers what is stale.

        A saga that somebody holds stays theirs.
        """
        ...

    def claim(self, saga_id: UUID, owner: str, /, *, lease: float) -> Record | None:
        """
        Make somebody the owner of a saga that nobody else holds, and count its version on.

        Returns:
            The saga; None: it is held, has ended, or is not there.
        """
        ...

    def renew(self, saga_id: UUID, owner: str, /, *, lease: float) -> bool:
        """Hold a saga for longer; False: it is not ours any more."""
        ...

    def release(self, saga_id: UUID, owner: str, /, *, due: float | None) -> None:
        """Let go of a saga that is ours, which is to be taken up in so many seconds; None: by nobody."""
        ...

    def stale(self, *, limit: int, saga: str | None = None) -> Sequence[UUID]:
        """Return sagas whose lease is over, or which are due, the one that was due first before others."""
        ...

    def history(self, saga_id: UUID, /) -> Sequence[Entry]:
        """Return a saga's log, in its order."""
        ...

    def find(self, *, saga: str | None = None, status: SagaStatus | None = None, limit: int = 100) -> Sequence[Record]:
        """Return sagas, those that were begun last first."""
        ...

    def hand_in(self, place: str, key: str, payload: bytes, /) -> Sequence[UUID]:
        """
        Return the sagas that wait in this place for an event of this key; if none does, keep it for one, for some days.

        It is stored with each of them before this returns, unless one is stored there already; those that wait for
        nothing else, and that nobody holds, are stale at once.  So whoever handed it in may die.

        One that begins to wait at the same moment gets it as well: it is never lost between "nobody waits" and
        "nothing has come".
        """
        ...

    def arrived(self, saga_id: UUID, step: str, /) -> bytes | None:
        """
        Return the event that has come for a step that waits, before it waited or since, or None.

        It stays there until the saga is saved, and that step does not wait any more.
        """
        ...

    def overdue(self, saga_id: UUID, /) -> Sequence[str]:
        """Return the steps that have waited for too long, the one whose time was over first before others."""
        ...
