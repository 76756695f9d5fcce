"""What a mediator does, as plain data: every message, who handles it, where, when and why, and every saga."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from attrs import field, frozen

from simplecqrs.kinds import Kind

__all__ = [
    "ConsumerDescription",
    "Description",
    "Destination",
    "HandlerDescription",
    "MessageDescription",
    "SagaDescription",
    "StepDescription",
    "When",
]

#: When a handler runs: while the message is being sent or published; after the commit; when its consumer works.
When = Literal["at once", "after commit", "later"]


@frozen(kw_only=True)
class HandlerDescription:
    """
    One handler of a message.

    Args:
        handler: with its module.
        title: without.
        links: the handlers that it is made of; empty: it is a function or a class.
        consumer: which one runs it; empty: none, it runs where the message is sent or published.
        why: what says so.
        needs: its dependencies: name to type.
        publishes: the events, ``sends`` the requests, and ``begins`` the sagas, that its source shows; see
            ``simplecqrs.sources`` for what that misses.
    """

    handler: str
    title: str
    links: Sequence[str] = ()
    when: When
    consumer: str = ""
    why: str
    needs: Mapping[str, str] = field(factory=dict[str, str])
    publishes: Sequence[str] = ()
    sends: Sequence[str] = ()
    begins: Sequence[str] = ()


@frozen(kw_only=True)
class Destination:
    """
    Where an event goes that leaves the process, and why there.

    Args:
        reaches: the consumers of this mediator that receive it from there.
    """

    broker: str
    why: str
    reaches: Sequence[str] = ()


@frozen(kw_only=True)
class MessageDescription:
    """
    One message class.

    Args:
        message: with its module.
        title: without.
        name: on the wire and in tables.
        topic: of an event that leaves the process; empty of all others.
        key: the field by which events keep their order; empty: they do not.
        answer: its type; of a stream that of its items; empty of events.
        leaves: why it leaves the process; empty: it does not.
        unit: the unit of work that it is handled in.
        permission: what is needed to give it; empty: nothing is asked for.
        destinations: empty, if nobody knows more than that it goes to the publisher.
        notes: what is missing, and what will not happen, each with its reason.
    """

    message: str
    title: str
    kind: Kind
    name: str
    version: int = 1
    topic: str = ""
    key: str = ""
    answer: str = ""
    fields: Mapping[str, str] = field(factory=dict[str, str])
    unit: str = ""
    permission: str = ""
    leaves: str = ""
    handlers: Sequence[HandlerDescription] = ()
    destinations: Sequence[Destination] = ()
    notes: Sequence[str] = ()


@frozen(kw_only=True)
class StepDescription:
    """
    One step of a saga, by the names of what it calls; empty: there is nothing to call.

    Args:
        group: its place; steps of a ``Parallel`` share theirs.
        attempts: how often it is tried.
    """

    name: str
    group: int
    act: str
    undo: str = ""
    fallback: str = ""
    waits_for: str = ""
    pivot: bool = False
    attempts: int = 1


@frozen(kw_only=True)
class SagaDescription:
    """
    One saga.

    Args:
        message: the name of the messages that its steps are run by.
        unit: the unit of work of each step.
        publishes: the events, and ``sends`` the requests, that its steps' source shows.
    """

    name: str
    state: str
    message: str
    unit: str = ""
    steps: Sequence[StepDescription] = ()
    publishes: Sequence[str] = ()
    sends: Sequence[str] = ()


@frozen(kw_only=True)
class ConsumerDescription:
    """
    One consumer.

    Args:
        messages: the names of those that it has handlers for.
        topics: what it subscribes to.
        broker: where these come from, empty if the mediator does not know; ``engine``: what starts its workers.
    """

    name: str
    messages: Sequence[str] = ()
    topics: Sequence[str] = ()
    why: str = ""
    broker: str = ""
    engine: str = ""


@frozen(kw_only=True)
class Description:
    """All that a mediator does."""

    messages: Sequence[MessageDescription] = ()
    consumers: Sequence[ConsumerDescription] = ()
    sagas: Sequence[SagaDescription] = ()

    def about(self, asked: str) -> Description:
        """
        Return what concerns one message, consumer or saga: it, and what it leads to at once.

        Args:
            asked: a message's class name, with or without module, or its name on the wire; or a consumer's or saga's
                name.  Nothing, if there is none of it.
        """
        messages = [m for m in self.messages if asked in (m.title, m.message, m.name)]
        consumers = [c for c in self.consumers if c.name == asked]
        sagas = [s for s in self.sagas if asked in (s.name, s.message)]
        messages += [m for m in self.messages if any(m.name in c.messages for c in consumers) and m not in messages]
        return Description(messages=messages, consumers=consumers, sagas=sagas)
