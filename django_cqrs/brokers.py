"""The project's brokers: those of the setting BROKERS, and the database itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

from attrs import define, field, frozen
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from django_cqrs.conf import settings
from django_cqrs.inbox import door
from django_cqrs.models import Subscription
from django_cqrs.schemas import in_schema, known_here
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotConfigured
from simplecqrs.middlewares.spans import SYSTEM
from simplecqrs.queue import DATABASE
from simplecqrs.transport import ACCEPTED, Broker, Feed, Promise, Receipt

__all__ = ["DatabaseBroker", "broker", "broker_names", "per_thread", "system_of"]

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
    threadsafe: bool = field(default=True, init=False)
    unclaimed: int = field(default=0, init=False)

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """
        Store envelopes with every consumer that has subscribed to their topic.

        They stay in the schema in which the outbox is; from another database they go to that of their tenant.
        """
        if settings().schemas is None or known_here(INBOXES) is not None:
            self._deliver(envelopes)
            return [ACCEPTED] * len(envelopes)
        from django_cqrs.tenants import NO_SCHEMA, by_schema

        sorted_ones = by_schema(envelopes)
        for schema, some in sorted_ones.items():
            if schema is not None:
                with in_schema(schema, INBOXES):
                    self._deliver(some)
        homeless = {id(envelope) for envelope in sorted_ones.get(None, ())}
        return [Receipt("refused", NO_SCHEMA) if id(e) in homeless else ACCEPTED for e in envelopes]

    def _deliver(self, envelopes: Sequence[Envelope]) -> None:
        subscribers = _subscribers({e.topic for e in envelopes})
        for consumer in sorted({c for consumers in subscribers.values() for c in consumers}):
            wanted = [e for e in envelopes if consumer in subscribers.get(e.topic, ())]
            # However long they have waited, they leave the outbox only now.
            door(INBOXES).store(consumer, wanted, once=True)
        self.unclaimed += sum(1 for e in envelopes if e.topic not in subscribers)

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


def system_of(name: str) -> str:
    """Return what traces call the system behind a broker; without making it, for its library may not be here."""
    found = settings().brokers.get(name)
    return SYSTEM if found is None else str(getattr(import_string(found.backend), "system", SYSTEM))


_shared: dict[str, Broker] = {}
_own = threading.local()


def broker(name: str) -> Broker:
    """
    Return a broker by its name; one object per thread, or per process if it says that threads may share it.

    Raises:
        NotConfigured: if there is none, or if it cannot be made.
    """
    found = _shared.get(name) or vars(_own).get(name)
    if found is None:
        found = _make(name)
        if getattr(found, "threadsafe", False):
            found = _shared.setdefault(name, found)
        else:
            vars(_own)[name] = found
    return found


def per_thread(name: str) -> Broker:
    """Return a broker that is, in each thread that uses it, the object of that thread: a job may move to another."""
    broker(name)  # which complains now, and not at its first event
    return cast(Broker, _OfThread(name))


@frozen
class _OfThread:
    broker_name: str

    def __getattr__(self, name: str) -> Any:
        return getattr(broker(self.broker_name), name)


def _make(name: str) -> Broker:
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
    global _own  # noqa: PLW0603 - a new one is the only way to forget what other threads have
    if setting == "DJANGO_CQRS":
        _shared.clear()
        _own = threading.local()


setting_changed.connect(_forget)
