"""A Redis stream, as a consumer reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeAlias, cast

from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.redis_entries import read_entry
from simplecqrs.brokers.redis_watch import Watch, before
from simplecqrs.errors import BrokerDown
from simplecqrs.transport import Delivery

__all__ = ["Asking", "RedisFeed"]

#: Lends a client of redis-py, and turns what goes wrong with it into ``BrokerDown``.
Asking: TypeAlias = Callable[[], AbstractContextManager[Any]]

Entries: TypeAlias = list[tuple[bytes, dict[bytes, bytes]]]


class RedisFeed:
    """
    One stream, as one consumer reads it: a group, in which all its fetchers bear the same name.

    So what one fetcher left behind comes to the next, in its order.
    """

    def __init__(
        self, name: str, consumer: str, *, topic: str, max_bytes: int, asking: Asking, wire: WireFormat | None = None
    ) -> None:
        self.name = name
        self._consumer = consumer
        self._topic = topic
        self._max_bytes = max_bytes
        self._asking = asking
        self._wire = wire
        self._open: set[str] | None = None  # fetched and not acknowledged; None: not known
        self._watch = Watch(name, consumer)

    @property
    def lost(self) -> int:
        """Count what is known to be gone before it was stored on our side."""
        return self._watch.lost

    @property
    def mark(self) -> str:
        """Tell how far it is acknowledged: the last entry."""
        return self._watch.mark

    def compare(self, mark: str, /) -> None:
        """Sound an alarm if the server has forgotten an entry that it gave us; this may be at the next fetch."""
        self._watch.compare(mark)

    def join(self) -> None:
        """Make the consumer a group of the stream, from its beginning, unless it is one.  Raises BrokerDown."""
        with self._asking() as client:
            try:
                client.xgroup_create(self.name, self._consumer, id="0", mkstream=True)
                self._watch.made()
            except Exception as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def rewind(self, since: datetime | None, /) -> None:
        """Let the group go on from what came at a time or later, by the server's clock; others may fetch meanwhile."""
        with self._asking() as client:
            client.xgroup_setid(self.name, self._consumer, before(since))

    def rewind_to(self, mark: str, /) -> None:
        """Let the group go on behind an entry; others may fetch meanwhile."""
        with self._asking() as client:
            client.xgroup_setid(self.name, self._consumer, mark)

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        """Return what was fetched before and never acknowledged, or, if there is no such thing, what is new."""
        try:
            with self._asking() as client:
                self._watch.look(client)
            return self._fetch(limit)
        except BrokerDown:
            self._watch.trouble()
            raise

    def _fetch(self, limit: int) -> Sequence[Delivery]:
        while True:
            entries = self._entries(limit)
            self._open = {entry_id.decode() for entry_id, _ in entries}
            self._give_up([entry_id.decode() for entry_id, fields in entries if not fields])
            if self._open or not entries:
                return [self._delivery(entry_id.decode(), fields) for entry_id, fields in entries if fields]

    def acknowledge(self, deliveries: Sequence[Delivery], /) -> None:
        """Acknowledge all of them in one call."""
        ids = [delivery.id for delivery in deliveries]
        self._acknowledge(ids)
        self._watch.acknowledged(ids)

    def _acknowledge(self, ids: Sequence[str]) -> None:
        if ids:
            with self._asking() as client:
                client.xack(self.name, self._consumer, *ids)
        if self._open:
            self._open.difference_update(ids)

    def _entries(self, limit: int) -> Entries:
        with self._asking() as client:
            try:
                return self._read(client, limit)
            except Exception as error:
                if "NOGROUP" not in str(error):
                    raise
            self._watch.gone()
            self.join()
            return self._read(client, limit)

    def _read(self, client: Any, limit: int) -> Entries:
        """
        Read what is pending, or else what is new.

        In one transaction: between two calls another fetcher could take new ones, and ours would overtake them.
        New ones that were read in vain are pending from then on.  So that these do not grow without end,
        they are not asked for as long as something is known to be pending.
        """

        def ask(asked: Any, start: str) -> Any:
            return asked.xreadgroup(self._consumer, self._consumer, {self.name: start}, count=limit)

        if self._open != set() and (pending := _only(ask(client, "0"))):
            return pending
        with client.pipeline(transaction=True) as pipe:
            ask(pipe, "0")
            ask(pipe, ">")
            pending, new = map(_only, pipe.execute())
        return pending or new

    def _delivery(self, entry_id: str, fields: dict[bytes, bytes]) -> Delivery:
        return Delivery(entry_id, read_entry(fields, self._wire, topic=self._topic, max_bytes=self._max_bytes))

    def _give_up(self, ids: Sequence[str]) -> None:
        """Acknowledge entries that somebody deleted, or trimmed away, before they were handled."""
        if ids:
            text = "%s: %d entries were deleted before %s had stored them: %s"
            self._watch.alarm(len(ids), text, len(ids), self._consumer, ids[:10])
            self._acknowledge(ids)


def _only(reply: Any) -> Entries:
    """Return the entries of the only stream in a reply."""
    return cast(Entries, reply[0][1]) if reply else []
