"""The project's brokers: those of the setting BROKERS, and the database itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from attrs import define, field
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_cqrs.conf import settings
from django_cqrs.inbox import door
from django_cqrs.models import Subscription
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotConfigured
from simplecqrs.queue import DATABASE
from simplecqrs.transport import ACCEPTED, Broker, Feed, Promise, Receipt

__all__ = ["DatabaseBroker", "broker", "broker_names"]

#: The alias of the consumers' inboxes.
INBOXES = "default"


@define
class DatabaseBroker:
    """
    The database as a broker: envelopes go straight into the inboxes of the project's own consumers.

    Under the relay this happens in the transaction in which the outbox's rows are deleted.

    Attributes:
        unclaimed: how many envelopes nobody had subscribed to.
    """

    promise: Promise = "stored"
    unclaimed: int = field(default=0, init=False)

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Store envelopes with every consumer that has subscribed to their topic."""
        subscribers = _subscribers({e.topic for e in envelopes})
        for consumer in sorted({c for consumers in subscribers.values() for c in consumers}):
            wanted = [e for e in envelopes if consumer in subscribers.get(e.topic, ())]
            door(INBOXES).store(consumer, wanted)
        self.unclaimed += sum(1 for e in envelopes if e.topic not in subscribers)
        return [ACCEPTED] * len(envelopes)

    def ping(self, *, deadline: float) -> None:
        """Answer: whoever can ask has read the outbox from this database."""

    def feeds(self, consumer: str, topics: Sequence[str], /) -> Sequence[Feed]:
        """Return none: what is published is in the inboxes already."""
        return ()


def _subscribers(topics: set[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    rows = Subscription.objects.using(INBOXES).filter(broker=DATABASE, topic__in=topics)
    for topic, consumer in rows.values_list("topic", "consumer"):
        found.setdefault(topic, set()).add(consumer)
    return found


def broker_names() -> list[str]:
    """Return the names of all brokers, the database first."""
    return [DATABASE, *settings().brokers]


@cache
def broker(name: str) -> Broker:
    """
    Return a broker by its name; one object per process.

    Raises:
        NotConfigured: if there is none, or if it cannot be made.
    """
    if name == DATABASE:
        return DatabaseBroker()
    found = settings().brokers.get(name)
    if found is None:
        raise NotConfigured(f"there is no broker {name!r} in BROKERS of DJANGO_CQRS; known are {broker_names()}")
    make: Any = import_string(found.backend)
    try:
        return make(**found.options)  # type: ignore[no-any-return]
    except TypeError as error:
        raise NotConfigured(f"BROKERS[{name!r}]: {found.backend} does not take these OPTIONS: {error}") from error


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DJANGO_CQRS":
        broker.cache_clear()


setting_changed.connect(_forget)
