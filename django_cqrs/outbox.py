"""From published events to rows of the outbox."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django_cqrs.conf import settings
from django_cqrs.queue import outbox
from simplecqrs.envelope import Envelope
from simplecqrs.messages import IntegrationEvent
from simplecqrs.queue import DATABASE, lane_of
from simplecqrs.unit import Published
from simplecqrs.vocabulary import Vocabulary

__all__ = ["store"]


def store(vocabulary: Vocabulary, published: Iterable[Published], alias: str) -> None:
    """Encode events and add a row per broker that they go to, within the transaction that is open."""
    outbox(alias).append(list(_rows(vocabulary, published)))


def _rows(vocabulary: Vocabulary, published: Iterable[Published]) -> Iterator[tuple[str, int, Envelope]]:
    for one in published:
        envelope = vocabulary.envelope(one.event, one.metadata)
        lane = lane_of(envelope)
        # A domain event is nobody else's business: it goes to the project's own consumers, whatever the routes say.
        ours = not isinstance(one.event, IntegrationEvent)
        for broker in (DATABASE,) if ours else settings().brokers_for(envelope.topic):
            yield broker, lane, envelope
