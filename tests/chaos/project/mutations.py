"""Faults that a relay or a consumer could have, so that it shows that the proofs would find them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

__all__ = ["MUTATIONS"]


def mark_first() -> None:
    """Delete rows, and commit, before the broker has them."""
    from simplecqrs.relay import Relay, Shipped

    def ship(self: Any) -> Any:
        works = self.storage.look(self.queue, range(16))
        if not works:
            return Shipped()
        options = {"limit": 16, "local": self.local, "idle": self.idle}
        with self.storage.hold(self.queue, lanes=[work.lane for work in works], **options) as held:
            rows = held.read(self.batch, self.max_bytes) if held is not None else ()
            if rows:
                held.done(rows)
        self.publisher.publish([row.envelope for row in rows], deadline=self.deadline)
        return Shipped(len(rows), len(rows))

    Relay._ship = ship  # type: ignore[method-assign]


def range_delete() -> None:
    """Delete all rows of the lanes up to the last that was accepted."""
    from django.db import connections

    from django_cqrs.held import HeldLanes

    def done(self: Any, rows: Sequence[Any]) -> int:
        storage = self._storage
        last = max(row.id for row in rows)
        with connections[storage.alias].cursor() as cursor:
            cursor.execute(f"DELETE FROM {storage.hot} WHERE id <= %s", [last])
            return int(cursor.rowcount)

    HeldLanes.done = done  # type: ignore[method-assign]


def skip_failed() -> None:
    """Go on past an event that was refused, with the next of its key."""
    from simplecqrs.transport import ACCEPTED, refused
    from tests.chaos.project import brokers

    def publish_but(publish: Any, envelopes: Sequence[Any], dislikes: Callable[[Any], bool]) -> list[Any]:
        bad = [dislikes(envelope) for envelope in envelopes]
        publish([e for e, is_bad in zip(envelopes, bad, strict=True) if not is_bad])
        return [refused("a planted refusal") if is_bad else ACCEPTED for is_bad in bad]

    brokers.publish_but = publish_but


def no_door() -> None:
    """Forget at the door what was seen."""
    from django_cqrs.inbox import DjangoInbox
    from django_cqrs.models import Seen

    store = DjangoInbox.store

    def forgetful(self: Any, consumer: str, envelopes: Sequence[Any], **options: Any) -> Any:
        Seen.objects.using(self.alias).all().delete()
        return store(self, consumer, envelopes, **options)

    DjangoInbox.store = forgetful  # type: ignore[method-assign]


def effect_apart() -> None:
    """Commit an effect by itself, not with the row of its message."""
    from django.db import connection, connections, transaction

    from tests.chaos.project import handlers

    effect_of = handlers.effect_of

    def apart(consumer: str, event: Any) -> None:
        ours, other = connections["default"], connection.copy()
        try:
            connections["default"] = other
            with transaction.atomic():
                effect_of(consumer, event)
        finally:
            connections["default"] = ours
            other.close()

    handlers.effect_of = apart


def park_in_pieces() -> None:
    """Park by statements that are committed one by one, where the lanes are not held in a transaction."""
    from django_cqrs.held import HeldLanes

    HeldLanes._together = lambda self: nullcontext()  # type: ignore[method-assign]


def pass_the_parked() -> None:
    """Let what follows a parked message go on without it."""
    from django_cqrs.held import HeldLanes
    from django_cqrs.models import Blocked

    park = HeldLanes.park

    def parking(self: Any, row: Any, failure: Any) -> None:
        park(self, row, failure)
        Blocked.objects.using(self._storage.alias).filter(slot=0).update(slot=row.id)

    HeldLanes.park = parking  # type: ignore[method-assign]


#: By their names, which CHAOS_FAULT gives.
MUTATIONS = {
    mutation.__name__: mutation
    for mutation in (
        mark_first, range_delete, skip_failed, no_door, effect_apart, park_in_pieces, pass_the_parked,
    )
}  # fmt: skip
