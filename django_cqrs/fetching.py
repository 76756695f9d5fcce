"""Fetchers: what takes messages off brokers into the inboxes of the project's consumers."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from django_cqrs.brokers import INBOXES, broker, system_of
from django_cqrs.conf import settings
from django_cqrs.inbox import door, replaying
from django_cqrs.mediator import DjangoMediator
from django_cqrs.positions import Positions
from django_cqrs.subscriptions import topics_of
from django_cqrs.tenants import SchemasDoor
from django_cqrs.tracing import message_spans
from simplecqrs.counts import Counts
from simplecqrs.fetcher import Fetcher
from simplecqrs.loop import Job
from simplecqrs.packing import verifying
from simplecqrs.queue import DATABASE, Inbox
from simplecqrs.transport import Feed

__all__ = ["fetchers"]


def fetchers(names: Sequence[str], mediator: DjangoMediator, *, replay: bool = False) -> list[Job]:
    """Return what takes messages off brokers into the inboxes of these consumers."""
    return [_Fetching(name, mediator, replay=replay) for name in names if settings().consumer(name).broker != DATABASE]


@define
class _Fetching:
    """A fetcher that opens its feeds at its first step: a broker that is down then is waited for like later."""

    consumer: str
    mediator: DjangoMediator
    counts: Counts = field(factory=Counts)
    replay: bool = False
    _fetcher: Fetcher | None = None
    _positions: Positions | None = None

    @property
    def name(self) -> str:
        return f"fetcher {self.consumer}"

    @property
    def asides(self) -> dict[str, int]:
        return self._fetcher.asides if self._fetcher is not None else {}

    @property
    def lost(self) -> int:
        return self._fetcher.lost if self._fetcher is not None else 0

    @property
    def missing(self) -> int:
        return self._fetcher.missing if self._fetcher is not None else 0

    def step(self) -> int:
        if self._fetcher is None or self._positions is None:
            self._fetcher, self._positions = self._open()
        if not self._positions.compare():
            return 0  # somebody else fetches, for a moment
        fetched = self._fetcher.step()
        self._positions.keep()
        return fetched

    def close(self) -> None:
        """Write down how far it is."""
        if self._positions is not None:
            self._positions.keep(now=True)

    def _open(self) -> tuple[Fetcher, Positions]:
        name = settings().consumer(self.consumer).broker
        feeds = broker(name).feeds(self.consumer, topics_of(self.consumer, self.mediator))
        positions = Positions(consumer=self.consumer, broker=name, feeds=feeds)
        feeds = _traced(self.consumer, _believed(self.consumer, feeds))
        inbox = _door(replay=self.replay)
        return Fetcher(consumer=self.consumer, inbox=inbox, feeds=feeds, counts=self.counts), positions


def _door(*, replay: bool) -> Inbox:
    """Return the door of all tenants if there are any, whatever one is asked to work: a feed is everybody's."""
    if settings().schemas is not None:
        return SchemasDoor(INBOXES, replay)
    return replaying(door(INBOXES)) if replay else door(INBOXES)


def _believed(consumer: str, feeds: Sequence[Feed]) -> Sequence[Feed]:
    """Let only what was signed out of the feeds of a consumer that asks for it."""
    signer = settings().signature_keys
    if not settings().consumer(consumer).signed or signer is None:
        return feeds
    return [verifying(feed, signer) for feed in feeds]


def _traced(consumer: str, feeds: Sequence[Feed]) -> Sequence[Feed]:
    """Let the batches of feeds have spans, if that is asked for."""
    spans = message_spans()
    if spans is None:
        return feeds
    system = system_of(settings().consumer(consumer).broker)
    return [spans.receiving(feed, consumer=consumer, system=system) for feed in feeds]
