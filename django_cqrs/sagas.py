"""
Sagas in the project's databases: the storage port of ``simplecqrs.saga``.

A saga is where its steps write: on the alias that DATABASES has for ``saga.<its name>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.db import connections

from django_cqrs.codecs import project_codec
from django_cqrs.locks import held_lane
from django_cqrs.saga_messages import hand_over
from django_cqrs.saga_rows import NEVER, SagaRows
from django_cqrs.saga_transactions import may_be_asked_again, refuse_inside, together, writing
from django_cqrs.saga_waits import SagaWaits
from django_cqrs.tracing import message_spans
from simplecqrs.errors import SagaMovedOn
from simplecqrs.saga.columns import address
from simplecqrs.saga.records import ENDED, Entry, Record, Run, SagaStatus

if TYPE_CHECKING:
    from django_cqrs.mediator import DjangoMediator
    from simplecqrs.saga.definition import Saga

__all__ = ["DjangoSagas"]

#: Seconds after which a saga is looked for whose message may not have been stored with it, for nobody had opened a
#: transaction for both.
GRACE: Final = 60.0
_ENDED: Final = f"({', '.join(map(repr, sorted(ENDED)))})"


class DjangoSagas:
    """
    Keep the sagas of a mediator.

    Args:
        mediator: whose sagas they are.
    """

    keeps_objects = False
    has_consumer = True
    joins = True

    def __init__(self, mediator: DjangoMediator) -> None:
        self._mediator = mediator
        self.codec = project_codec()

    @property
    def parallel(self) -> bool:
        """Tell whether threads may write at the same time: not on SQLite, and not in a test's transaction."""
        used = {self._mediator.saga_alias(name) for name in self._known()}
        return all(connections[alias].vendor != "sqlite" and not connections[alias].in_atomic_block for alias in used)

    def rows(self, alias: str) -> SagaRows:
        """Return the rows of an alias."""
        return SagaRows(alias, self.codec)

    # -- storing ---------------------------------------------------------------------------------------------------

    def create(self, record: Record, /, *, lease: float | None) -> bool:
        """
        Add a saga, in the transaction that is open.

        Raises:
            InsideTransaction: if it is to be run at once, and a transaction is open.
        """
        rows = self.rows(self._mediator.saga_alias(record.saga))
        spans = message_spans()
        if spans is not None:  # it may be begun outside of a command
            record.headers = spans.carried(record.headers)
        if lease is not None:
            refuse_inside(rows.alias, record.saga)
        with together(rows.alias) as alone:
            waits = self._meeting(rows, record)
            if not rows.insert(record, self._due(rows, record, lease, alone=alone), owner=_owner(record)):
                return False
            self._complete(rows, waits, record, lease)
        _stored(record, 1)
        return True

    def save(self, record: Record, /, *, lease: float | None) -> None:
        """Store what a saga has become, in the transaction that is open; raises SagaMovedOn."""
        rows = self.rows(self._mediator.saga_alias(record.saga))
        with writing(rows.alias) as alone:
            waits = self._meeting(rows, record)
            is_ours = rows.update(record, self._due(rows, record, lease, alone=alone), owner=_owner(record))
            if is_ours:
                self._complete(rows, waits, record, lease)
        if not is_ours:  # not raised inside: it would spoil the transaction that others go on with
            raise SagaMovedOn(f"the saga {record.id} was changed by somebody else")
        _stored(record, record.version + 1)

    def later(self, record: Record, runs: Sequence[Run], /) -> None:
        """Store a message for the consumer for each, in the transaction that is open, or schedule it."""
        alias = self._mediator.saga_alias(record.saga)
        with writing(alias) as alone:
            if not record.owner:  # else whoever holds it goes on
                hand_over(alias, self._definition(record.saga), record, runs)
            if alone:
                self.rows(alias).set_due(record.id, NEVER, "owner = '' AND status <> 'WAITING'", [])

    def _meeting(self, rows: SagaRows, record: Record) -> SagaWaits | None:
        """Return the waits of an alias if the saga has, or had, any; what begins to wait meets who hands it in."""
        known = self._definition(record.saga)
        if not record.waits and known is not None and not any(step.waits for step in known.by_name.values()):
            return None
        waits = SagaWaits(rows)
        if record.waits:
            waits.meet([address(wait.place, wait.key) for wait in record.waits])
        return waits

    def _complete(self, rows: SagaRows, waits: SagaWaits | None, record: Record, lease: float | None) -> None:
        rows.log(record)
        if waits is None:
            return
        waits.sync(record)
        if record.status == "WAITING" and not (record.paused and not record.owner):
            waits.settle(record, rows.later(lease or 0.0))

    def _due(self, rows: SagaRows, record: Record, lease: float | None, *, alone: bool) -> tuple[str, list[Any]]:
        """Return from when on a saga may be taken up by others."""
        if record.ended or (record.paused and not record.owner):
            return NEVER
        if lease is None and self._is_being_called(record):
            lease = self._known()[record.saga].lease
        if lease is not None:
            return rows.later(lease)
        # In one transaction with its messages it cannot be lost; else it is looked for after a while.
        return rows.later(GRACE) if alone else NEVER

    def _is_being_called(self, record: Record) -> bool:
        """Tell whether the consumer calls a step under a lease; the others of its Parallel are stored meanwhile."""
        saga = self._definition(record.saga)
        return saga is not None and any(
            known.phase == "started" and not may_be_asked_again(saga.by_name[name], known.action)
            for name, known in record.progress.items()
            if name in saga.by_name
        )

    # -- reading ---------------------------------------------------------------------------------------------------

    def load(self, saga_id: UUID, /, *, lock: bool = False) -> Record | None:
        """Return a saga, or None; a lock is for the transaction that is open."""
        found = (rows.read(saga_id, lock=lock) for rows in self._everywhere())
        return next((record for record in found if record is not None), None)

    def history(self, saga_id: UUID, /) -> Sequence[Entry]:
        """Return a saga's log, in its order."""
        return next((log for rows in self._everywhere() if (log := rows.history(saga_id))), [])

    def find(self, *, saga: str | None = None, status: SagaStatus | None = None, limit: int = 100) -> Sequence[Record]:
        """Return sagas, those that were begun last first."""
        named = {"saga": saga, "status": status}
        wanted = {name: value for name, value in named.items() if value is not None}
        where = f"WHERE {' AND '.join(f'{name} = %s' for name in wanted)}" if wanted else ""
        places = [self.rows(self._mediator.saga_alias(saga))] if saga is not None else list(self._everywhere())
        found = [pair for rows in places for pair in rows.newest(where, list(wanted.values()), limit)]
        return [record for _, record in sorted(found, key=itemgetter(0), reverse=True)][:limit]

    def stale(self, *, limit: int, saga: str | None = None, ahead: float = 0.0) -> Sequence[UUID]:
        """
        Return sagas that are due, the one that was due first before others.

        Args:
            ahead: by how many seconds too early they are taken for due, for tests.
        """
        places = [self.rows(self._mediator.saga_alias(saga))] if saga is not None else list(self._everywhere())
        return [saga_id for _, saga_id in sorted(due for rows in places for due in rows.stale(limit, saga, ahead))][
            :limit
        ]

    # -- leases ----------------------------------------------------------------------------------------------------

    def claim(self, saga_id: UUID, owner: str, /, *, lease: float) -> Record | None:
        """
        Make somebody the owner of a saga that nobody else holds, and that has not ended.

        Raises:
            InsideTransaction: if a transaction is open: others are to see it, and each step is to commit.
        """
        for rows in self._everywhere():
            record = rows.read(saga_id)
            if record is None:
                continue
            refuse_inside(rows.alias, record.saga)
            held = f"(owner IN ('', %s) OR due_at <= {rows.speech.now}) AND status NOT IN {_ENDED}"
            until = rows.later(lease)
            due = f"{until[0]}, owner = %s, version = version + 1", [*until[1], owner]
            return rows.read(saga_id) if rows.set_due(saga_id, due, held, [owner]) else None
        return None

    def renew(self, saga_id: UUID, owner: str, /, *, lease: float) -> bool:
        """Hold a saga for longer; False: it is not ours any more."""
        return any(rows.set_due(saga_id, rows.later(lease), "owner = %s", [owner]) for rows in self._everywhere())

    def release(self, saga_id: UUID, owner: str, /, *, due: float | None) -> None:
        """Let go of a saga that is ours."""
        for rows in self._everywhere():
            when = NEVER if due is None else rows.later(due)
            if rows.set_due(saga_id, (f"{when[0]}, owner = '', version = version + 1", when[1]), "owner = %s", [owner]):
                return

    # -- waiting ---------------------------------------------------------------------------------------------------

    def hand_in(self, place: str, key: str, payload: bytes, /) -> Sequence[UUID]:
        """Store an event with those that wait for it, and return them; keep it for one if there is none."""
        alias = self._mediator.saga_alias(place.partition(":")[0])
        with writing(alias):
            return SagaWaits(self.rows(alias)).hand_in(place, key, payload)

    def arrived(self, saga_id: UUID, step: str, /) -> bytes | None:
        """Return the event that has come for a step that waits, or None."""
        found = (SagaWaits(rows).arrived(saga_id, step) for rows in self._everywhere())
        return next((event for event in found if event is not None), None)

    def overdue(self, saga_id: UUID, /) -> Sequence[str]:
        """Return the steps that have waited for too long, the one whose time was over first before others."""
        return next((late for rows in self._everywhere() if (late := SagaWaits(rows).overdue(saga_id))), [])

    # -- where -----------------------------------------------------------------------------------------------------

    def _everywhere(self) -> Iterator[SagaRows]:
        """Return the rows of each alias that may have sagas; those of the lane that is worked here first."""
        here = held_lane()
        names = list(dict.fromkeys(map(self._mediator.saga_alias, self._known()))) or ["default"]
        if len(names) > 1 and here in names:
            names = [here, *(name for name in names if name != here)]
        return map(self.rows, names)

    def _definition(self, saga: str) -> Saga[Any] | None:
        return self._known().get(saga)

    def _known(self) -> Mapping[str, Saga[Any]]:
        return self._mediator.saga_definitions


def _owner(record: Record) -> str:
    return "" if record.ended else record.owner


def _stored(record: Record, version: int) -> None:
    record.version, record.entries, record.waits = version, [], []
