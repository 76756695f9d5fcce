"""Events that change data capture takes to their broker: they stay in the outbox as they were inserted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NoReturn

from attrs import frozen
from django.db import connections

from django_cqrs.conf import settings
from django_cqrs.entries import BrokerSettings, Settings
from django_cqrs.models import Outbox
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotConfigured
from simplecqrs.queue import LANES
from simplecqrs.transport import Promise

__all__ = ["Debezium", "cdc_brokers", "contradictions", "count_left", "delete_left", "slot_alarms"]

BACKEND = f"{__name__}.Debezium"
#: Bytes that a slot may be behind before somebody is told: the server keeps them, and its disk is full one day.
BEHIND = 1024**3
SLOT = (
    "SELECT active, COALESCE(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0) FROM pg_replication_slots"
    " WHERE slot_name = %s LIMIT 1"
)


@frozen(kw_only=True)
class Debezium:
    """
    Leave events in the outbox, for Debezium's outbox event router to take them to Kafka.

    No relay ships them.  Rows are inserted, never changed, and purged after CDC_DAYS.

    Args:
        to: the broker, of BROKERS, from which consumers of this project read what Debezium has written.
        slot: the replication slot of the connector on PostgreSQL, for ``cqrs_status`` to watch it.
    """

    to: str = ""
    slot: str = ""
    promise: Promise = "stored"
    threadsafe: bool = True

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> NoReturn:
        """Refuse.  Raises NotConfigured."""
        _refuse("Debezium ships these events, and no relay does; see docs/cdc.md")

    def ping(self, *, deadline: float) -> None:
        """Answer: nothing is sent from here."""

    def feeds(self, consumer: str, topics: Sequence[str], /) -> NoReturn:
        """Refuse.  Raises NotConfigured."""
        _refuse(f"{consumer!r} cannot read from here: what Debezium ships is read from {self.to or 'its Kafka'!r}")


def _refuse(why: str) -> NoReturn:
    raise NotConfigured(why)


def cdc_brokers(found: Settings | None = None) -> Mapping[str, BrokerSettings]:
    """Return those of BROKERS whose events are left to change data capture."""
    return {name: entry for name, entry in (found or settings()).brokers.items() if entry.backend == BACKEND}


def contradictions(found: Settings) -> Iterator[tuple[str, str]]:
    """Go through settings that do nothing for what Debezium ships, each with its cure."""
    for name in cdc_brokers(found):
        if not found.source:
            said = "SOURCE is empty; what says not where it comes from is no CloudEvent to those who read it"
            yield f"BROKERS[{name!r}]: {said}", "Set SOURCE."
        if found.signature_keys is not None:
            yield (
                f"BROKERS[{name!r}]: what Debezium ships is not signed, for the relay does that",
                "Let no consumer of it ask for signed=True.",
            )


def count_left(alias: str, since: datetime, cap: int) -> int:
    """Count the events that were left for longer, up to a cap."""
    return sum(len(ids) for ids in _left(alias, since, cap))


def delete_left(alias: str, since: datetime, limit: int) -> int:
    """Delete events that were left for longer, lane by lane from its beginning, and return how many."""
    rows = Outbox.objects.using(alias)
    return sum(rows.filter(pk__in=ids).delete()[0] for ids in _left(alias, since, limit))


def _left(alias: str, since: datetime, limit: int) -> Iterator[list[int]]:
    for name in cdc_brokers():
        for lane in range(LANES):
            rows = Outbox.objects.using(alias).filter(queue=name, lane=lane).order_by("queue", "lane", "pk")
            # Those of a lane are older the further ahead they are, but for a moment: the first young one is the end.
            first = rows.values_list("pk", "created_at")[:limit]
            ids = [number for number, at in first if at < since]
            if ids:
                limit -= len(ids)
                yield ids
            if not limit:
                return


def slot_alarms(alias: str) -> Iterator[str]:
    """Tell of a replication slot that nobody reads, and for which the server keeps everything."""
    if connections[alias].vendor != "postgresql":
        return
    for name, entry in cdc_brokers().items():
        slot = entry.options.get("slot")
        if not slot:
            continue
        with connections[alias].cursor() as cursor:
            cursor.execute(SLOT, [slot])
            found = cursor.fetchone()
        if found is None:
            yield f"outbox {name}: there is no replication slot {slot!r}; Debezium has lost its place, see docs/cdc.md"
        elif not found[0] or found[1] > BEHIND:
            yield (
                f"outbox {name}: the replication slot {slot!r} is {found[1] / 1e6:,.0f} MB behind, and "
                f"{'read' if found[0] else 'nobody reads it'}; the server keeps all of that"
            )
