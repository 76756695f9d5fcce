"""A handler with the messages that it was registered for, and what was said there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen, validators

from simplecqrs.backoff import Pause, Retry
from simplecqrs.errors import DuplicateHandler, InvalidHandler, InvalidMessage
from simplecqrs.handlers import Handler, describe
from simplecqrs.messages import Event, Message, Query, Request, Stream
from simplecqrs.shapes import Part

__all__ = [
    "Fate",
    "OnDead",
    "OnError",
    "Options",
    "PerItem",
    "Registration",
    "check_messages",
    "check_on_error",
    "check_options",
]

#: What a message that was given up does to the followers of its key.
OnDead = Literal["hold", "continue"]
#: What becomes of a message whose handling failed.
Fate = Retry | Pause | Literal["retry", "pause", "discard", "dead-letter"]
#: The fates that go by the exception; of the classes that fit one, the nearest counts.
OnError = Mapping[type[Exception], Fate]
FATES = ("retry", "pause", "discard", "dead-letter")
#: What a transaction of a stream holds.
PerItem = Literal["item", "all"]


def check_on_error(_: Any, __: Any, on_error: Any) -> None:
    """Refuse what is no mapping of exceptions to fates; a validator of attrs."""
    given = on_error
    if not isinstance(on_error, Mapping):
        raise TypeError(f"on_error={on_error!r} is no mapping of exception classes to what becomes of the message")
    for cls, fate in given.items():
        if not (isinstance(cls, type) and issubclass(cls, Exception)):
            raise TypeError(f"on_error: {cls!r} is no class of exceptions")
        if not isinstance(fate, (Retry, Pause)) and fate not in FATES:
            raise ValueError(f"on_error: {cls.__qualname__}: {fate!r} is no Retry, no Pause and none of {FATES}")


@frozen(kw_only=True)
class Options:
    """
    Where and when a handler runs.

    Args:
        after_commit: after the commit, as a message of its own; best effort.
        consumer: the consumer that runs it, later, when it receives the event.
        retry: how often a consumer tries; None: as the consumer says.
        on_dead: whether the followers of a key wait behind a message that was given up; None: as the consumer says.
        on_error: what becomes of a message that failed, by the exception; before what the consumer says.
        transaction: of a stream that writes: a transaction for each item, or one for all of them.
    """

    after_commit: bool = field(default=False, validator=validators.instance_of(bool))
    consumer: str | None = field(default=None, validator=validators.optional(validators.instance_of(str)))
    retry: Retry | None = field(default=None, validator=validators.optional(validators.instance_of(Retry)))
    on_dead: OnDead | None = field(default=None, validator=validators.in_([None, "hold", "continue"]))
    on_error: OnError = field(factory=dict[type[Exception], Fate], validator=check_on_error, hash=False)
    transaction: PerItem | None = field(default=None, validator=validators.in_([None, "item", "all"]))


@frozen(eq=False)  # each method that attrs writes costs at import
class Registration:
    """One handler, the messages that it was registered for, and the functions and classes that it is made of."""

    messages: tuple[type[Message], ...]
    handler: Any
    options: Options
    parts: tuple[Part, ...]

    @property
    def kind(self) -> type[Message]:
        """Return the message, of several events the first one."""
        return self.messages[0]


def check_messages(messages: tuple[Any, ...], handler: Handler) -> None:
    """Refuse what is no message class, and messages that cannot share a handler."""
    if not messages:
        raise InvalidMessage(f"{describe(handler)}: handles() needs a message class, as in @handles(OrderPlaced)")
    for message in messages:
        if not isinstance(message, type):
            raise InvalidMessage(
                f"{describe(handler)} is to handle {message!r}, which is no class; a generic message is subclassed "
                "first: class AddressChanged(Changed[Address])"
            )
        if not issubclass(message, (Request, Stream, Event)):
            raise InvalidMessage(
                f"{describe(handler)} is to handle {message.__qualname__}, which is no message; derive it from "
                "Command, Query, Stream, DomainEvent or NotificationEvent"
            )
    if len(messages) > 1 and any(issubclass(m, (Request, Stream)) for m in messages):
        raise InvalidHandler(f"{describe(handler)}: only events can share a handler, requests have one each")
    if len(set(messages)) < len(messages):
        raise DuplicateHandler(f"{describe(handler)} was given the same event twice")


def check_options(messages: tuple[type[Message], ...], handler: Handler, options: Options) -> None:
    """Refuse options that mean nothing for these messages."""
    if options.transaction is not None and not issubclass(messages[0], Stream):
        raise InvalidHandler(
            f"{describe(handler)}: transaction= is for streams; a command has one, queries and events need none"
        )
    says_failing = options.retry is not None or options.on_dead is not None or bool(options.on_error)
    what = "retry=, on_dead= and on_error= are for"
    if any(issubclass(m, (Request, Stream)) for m in messages):
        if options.after_commit or options.consumer is not None:
            raise InvalidHandler(
                f"{describe(handler)}: after_commit= and consumer= are for events; to handle a command later, defer it"
            )
        if issubclass(messages[0], (Query, Stream)) and says_failing:
            raise InvalidHandler(f"{describe(handler)}: {what} what is handled later, not queries or streams")
    elif options.after_commit and options.consumer is not None:
        raise InvalidHandler(f"{describe(handler)}: choose after_commit=True or consumer=, not both")
    elif options.consumer is None and says_failing:
        raise InvalidHandler(f"{describe(handler)}: {what} handlers with consumer=")
    if options.consumer is not None and not options.consumer.strip():
        raise InvalidHandler(f"{describe(handler)}: consumer={options.consumer!r} is no name")
