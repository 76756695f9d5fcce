"""From published events to rows of the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_cqrs.conf import settings
from django_cqrs.pressure import refuse_if_full
from django_cqrs.queue import outbox
from django_cqrs.schedule import keep, warn_of_key
from django_cqrs.tracing import message_spans
from simplecqrs.envelope import Envelope
from simplecqrs.messages import Event, IntegrationEvent
from simplecqrs.queue import DATABASE, lane_of
from simplecqrs.timing import Moment
from simplecqrs.unit import Published
from simplecqrs.vocabulary import Vocabulary

__all__ = ["refuse_too_much", "store"]


def store(vocabulary: Vocabulary, published: Sequence[Published], alias: str) -> None:
    """Encode events and add a row per broker that they go to, within the transaction that is open; or keep it."""
    at_once: list[tuple[str, int, Envelope]] = []
    later: list[tuple[Moment, str, int, Envelope]] = []
    for one, row in _rows(vocabulary, published):
        due = one.plan.times.due if one.plan.times is not None else None
        if due is None:
            at_once.append(row)
        else:
            warn_of_key(one.event, row[2].key)
            later.append((due, *row))
    outbox(alias).append(at_once)
    keep(alias, "outbox", later)


def _rows(
    vocabulary: Vocabulary, published: Sequence[Published]
) -> Iterator[tuple[Published, tuple[str, int, Envelope]]]:
    envelopes: Sequence[Envelope] = vocabulary.envelopes(published)
    spans = message_spans()
    if spans is not None:
        envelopes = [spans.created(envelope) for envelope in envelopes]
    for one, envelope in zip(published, envelopes, strict=True):
        lane = lane_of(envelope)
        for broker in _brokers(one.event, envelope.topic):
            yield one, (broker, lane, envelope)


def refuse_too_much(vocabulary: Vocabulary, published: Published, alias: str) -> None:
    """Raise OutboxFull if an event is to go at once to a broker for which too much waits; see MAX_PENDING."""
    times = published.plan.times
    if settings().max_pending and (times is None or times.due is None):
        refuse_if_full(alias, _brokers(published.event, vocabulary.topic(type(published.event))))


def _brokers(event: Event, topic: str) -> tuple[str, ...]:
    """Return the brokers that an event goes to."""
    # A domain event is nobody else's business: it goes to the project's own consumers, whatever the routes say.
    return settings().brokers_for(topic) if isinstance(event, IntegrationEvent) else (DATABASE,)
