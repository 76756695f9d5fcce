"""Shipping one event by its message id: what an operator does who cannot wait for the rest."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connections

from django_cqrs import rows
from django_cqrs.databases import dialect
from django_cqrs.models import Blocked, Dead, Outbox, ParkedOutbox
from django_cqrs.relay import aliases, one_relay
from simplecqrs.errors import NotPublished
from simplecqrs.queue import Held, Row
from simplecqrs.relay import Relay

__all__ = ["ship_one"]

#: How often, and after how many seconds, a lane is asked for that another relay has.
TRIES, PAUSE = 50, 0.1


def ship_one(
    message_id: UUID, *, routes: Sequence[str] = (), databases: Sequence[str] = (), out_of_order: bool = False
) -> list[str]:
    """
    Ship one pending event to the brokers that it waits for, and return their names.

    The outbox has no index by message id: with millions pending this reads the table once.

    Args:
        routes: only to these brokers.
        databases: only from the outboxes of these aliases.
        out_of_order: though something of its key waits before it.

    Raises:
        NotPublished: if it is not pending, if something of its key waits before it, or if its broker did not take it.
    """
    shipped = []
    for alias in databases or aliases():
        found = Outbox.objects.using(alias).filter(message_id=message_id)
        for number, queue, lane in found.order_by("pk").values_list("pk", "queue", "lane"):
            if queue in routes or not routes:
                _ship(one_relay(queue, alias), alias, number, lane, out_of_order=out_of_order)
                shipped.append(queue)
    if not shipped:
        raise NotPublished(_where(message_id, databases or aliases()))
    return shipped


def _ship(relay: Relay, alias: str, number: int, lane: int, *, out_of_order: bool) -> None:
    clock = threading.Event()
    for _ in range(TRIES):
        with relay.storage.hold(relay.queue, lanes=[lane], limit=1, local=relay.local, idle=relay.idle) as held:
            if held is not None:
                _publish(relay, alias, number, held, out_of_order=out_of_order)
                return
        clock.wait(PAUSE)
    raise NotPublished(f"a relay of {relay.queue} works the lane of this event and has not let go of it; try again")


def _publish(relay: Relay, alias: str, number: int, held: Held, *, out_of_order: bool) -> None:
    """Ship a row whose lane is held, as the relay would, and delete it."""
    row = _read(alias, number)
    if row is None:  # another relay was quicker
        return
    before = _before(alias, row)
    if before and not out_of_order:
        raise NotPublished(f"{before}; --out-of-order ships it all the same")
    [receipt] = relay.publisher.publish([row.envelope], deadline=relay.deadline)
    if receipt.status != "accepted":
        raise NotPublished(f"{relay.queue} did not take {row.envelope.id}: {receipt.reason or receipt.status}")
    held.done([row])


def _read(alias: str, number: int) -> Row | None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT id, 0, {rows.COLUMNS} FROM {Outbox._meta.db_table} WHERE id = %s", [number])
        record = cursor.fetchone()
    return rows.read_row(dialect(alias), record, parked=False) if record is not None else None


def _before(alias: str, row: Row) -> str:
    """Say what of the same key waits before a row."""
    envelope = row.envelope
    if not envelope.key:
        return ""
    place: dict[str, Any] = {"queue": row.queue, "topic": envelope.topic, "key": envelope.key}
    blocked = Blocked.objects.using(alias).filter(box="outbox", slot=0, **place).first()
    if blocked is not None:
        return f"its key {envelope.key!r} is blocked: {blocked.error.splitlines()[0] if blocked.error else 'parked'}"
    earlier = Outbox.objects.using(alias).filter(lane=row.lane, pk__lt=row.id, **place).order_by("pk")
    first = earlier.values_list("name", "message_id").first()
    return "" if first is None else f"{first[0]} {first[1]} of the key {envelope.key!r} waits before it"


def _where(message_id: UUID, databases: Sequence[str]) -> str:
    """Say where an event is that is not pending."""
    for alias in databases:
        parked = ParkedOutbox.objects.using(alias).filter(message_id=message_id).first()
        if parked is not None:
            return (
                f"{message_id} is parked; `cqrs_dead list --parked` says why, `cqrs_dead retry --box outbox --key "
                f"{parked.key!r}` tries again"
            )
        dead = Dead.objects.using(alias).filter(message_id=message_id, box="outbox").first()
        if dead is not None:
            return f"{message_id} is the dead letter {dead.pk}; `cqrs_dead retry {dead.pk}` tries again"
    return f"{message_id} does not wait in the outbox: it was shipped, or never published"
