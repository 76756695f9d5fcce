"""What a project does: what its mediator says, with databases, brokers, routes and consumers of the settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from attrs import evolve

from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names, topics_of
from django_cqrs.entries import most_specific_pattern
from django_cqrs.mediator import DjangoMediator
from simplecqrs.describing import Why, describe, describe_message, why_there
from simplecqrs.description import (
    ConsumerDescription,
    Description,
    Destination,
    MessageDescription,
    SagaDescription,
)
from simplecqrs.errors import UnknownMessage
from simplecqrs.messages import Message
from simplecqrs.queue import DATABASE, DEFERRED, SAGAS
from simplecqrs.registration import Registration

__all__ = ["describe_one", "describe_project"]

#: Of each consumer what it subscribes to.
Topics = Mapping[str, Sequence[str]]


def describe_project(bus: DjangoMediator) -> Description:
    """Return what a project does."""
    bus.configure()
    described, topics = describe(bus, why=_why(bus)), _topics(bus)
    return Description(
        messages=[_located(topics, message) for message in described.messages],
        consumers=[*_consumers(topics, described.consumers)],
        sagas=[_saga(saga) for saga in described.sagas],
    )


def describe_one(bus: DjangoMediator, asked: str) -> Description:
    """
    Return what concerns one message, consumer or saga, a message that nobody handles included.

    Raises:
        UnknownMessage: if there is nothing of this name.
    """
    described = describe_project(bus)
    found = described.about(asked)
    if found.messages or found.consumers or found.sagas:
        return found
    name = bus.vocabulary.name
    classes = [cls for cls in _classes() if asked in (cls.__name__, cls.__qualname__, _path(cls), name(cls))]
    if not classes:
        names = [m.title for m in described.messages] + [c.name for c in described.consumers]
        close = get_close_matches(asked, [*names, *(s.name for s in described.sagas)], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UnknownMessage(f"there is no message, consumer or saga {asked!r} here{hint}")
    topics = _topics(bus)
    return Description(messages=[_located(topics, describe_message(bus, cls, why=_why(bus))) for cls in classes])


def _topics(bus: DjangoMediator) -> dict[str, list[str]]:
    """Return every consumer, with what it subscribes to."""
    return {name: [] if name == DEFERRED else topics_of(name, bus) for name in consumer_names(bus)}


def _path(cls: type[Message]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _classes() -> list[type[Message]]:
    """Return all message classes that are imported, without those that attrs has replaced by slotted ones."""
    waiting: list[type[Message]] = [Message]
    found: dict[str, type[Message]] = {}
    for cls in waiting:  # which grows
        found[_path(cls)] = cls
        waiting += cls.__subclasses__()
    return list(found.values())


def _located(topics: Topics, message: MessageDescription) -> MessageDescription:
    """Add to a message on which database it is handled, and where it goes."""
    located = evolve(message, unit=_unit(message))
    if not message.leaves:
        return located
    destinations = [*_destinations(topics, located)]
    return evolve(located, destinations=destinations, notes=[*message.notes, *_lost(topics, located, destinations)])


def _unit(message: MessageDescription) -> str:
    if message.kind not in ("command", "stream") or message.unit == "none":
        return message.unit
    return f"{message.unit} on the database {_alias(message.name)}"


def _alias(name: str) -> str:
    """Name the alias of a message's transaction, and say why."""
    pattern = most_specific_pattern(settings().databases, name)
    why = "the default" if pattern is None else f"DATABASES[{pattern!r}]"
    return f"{settings().alias_for(name)!r} ({why})"


def _why(bus: DjangoMediator) -> Why:
    """Return what knows of the setting apps, too."""
    said = {(id(r.handler), r.messages, r.options.consumer) for r in bus.registry}

    def why(registration: Registration, message: type[Message]) -> str:
        consumer = registration.options.consumer
        if (id(registration.handler), registration.messages, consumer) in said:
            return why_there(registration, message)
        return f"CONSUMERS[{consumer!r}]['apps'] names its app"

    return why


def _destinations(topics: Topics, message: MessageDescription) -> Iterator[Destination]:
    """Tell the brokers that an event goes to, and who reads it there."""
    if message.kind == "domain event":
        brokers: Sequence[str] = (DATABASE,)
        why = "domain events stay in this project"
    else:
        brokers = settings().brokers_for(message.topic)
        pattern = most_specific_pattern(settings().routes, message.topic)
        why = "no pattern of ROUTES fits" if pattern is None else f"ROUTES[{pattern!r}]"
    handling = dict.fromkeys(handler.consumer for handler in message.handlers if handler.consumer)
    for broker in brokers:
        reaches = [
            name for name in handling if settings().consumer(name).broker == broker and message.topic in topics[name]
        ]
        yield Destination(broker=broker, why=why, reaches=reaches)


def _lost(topics: Topics, message: MessageDescription, ways: Sequence[Destination]) -> Iterator[str]:
    """Say which handlers will never see an event, and why."""
    reached = {name for way in ways for name in way.reaches}
    sent = ", ".join(repr(way.broker) for way in ways)
    for name in dict.fromkeys(handler.consumer for handler in message.handlers):
        if not name or name in reached:
            continue
        if message.topic not in topics[name]:
            yield (
                f"the consumer {name!r} does not get it: CONSUMERS[{name!r}]['topics'] is "
                f"{topics[name]}, without {message.topic!r}"
            )
        else:
            yield (
                f"the consumer {name!r} does not get it: it reads from {settings().consumer(name).broker!r}, and "
                f"{message.topic!r} goes to {sent}"
            )
    if DATABASE in {way.broker for way in ways} and not _subscribed(topics, message.topic):
        yield f"no consumer of this project has subscribed to {message.topic!r}: the relay counts it as unclaimed"


def _subscribed(topics: Topics, topic: str) -> bool:
    """Tell whether a consumer of this project reads a topic from the database."""
    return any(topic in known and settings().consumer(name).broker == DATABASE for name, known in topics.items())


def _consumers(topics: Topics, known: Sequence[ConsumerDescription]) -> Iterator[ConsumerDescription]:
    handled = {consumer.name: consumer.messages for consumer in known}
    for name, subscribed in topics.items():
        found = settings().consumer(name)
        if name == DEFERRED:
            yield ConsumerDescription(
                name=name, messages=["all commands that are deferred"], broker=DATABASE, engine=found.engine
            )
            continue
        why = "the topics of what it has handlers for" if found.topics is None else f"CONSUMERS[{name!r}]['topics']"
        steps = ["the steps of sagas that were started"] if name == SAGAS else []
        yield ConsumerDescription(
            name=name,
            messages=[*handled.get(name, []), *steps],
            topics=subscribed,
            why=why,
            broker=found.broker,
            engine=found.engine,
        )


def _saga(saga: SagaDescription) -> SagaDescription:
    return evolve(saga, unit=f"{saga.unit} on the database {_alias(saga.message)}")
