"""Which handler handles which message, and when and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from attrs import field, frozen, validators

from simplecqrs.backoff import Retry
from simplecqrs.errors import DuplicateHandler, InvalidHandler, InvalidMessage, NotConfigured
from simplecqrs.handlers import (
    Handler,
    Shape,
    SyncEventHandler,
    SyncRequestHandler,
    describe,
    is_buildable,
    shape_of,
)
from simplecqrs.messages import Event, Message, Query, Request

__all__ = ["OnDead", "Options", "Registrar", "Registration", "Registry", "default_registry", "handles"]

P = ParamSpec("P")
R = TypeVar("R")
M_co = TypeVar("M_co", bound=Message, covariant=True)
M = TypeVar("M", bound=Message)
E1 = TypeVar("E1", bound=Event)
E2 = TypeVar("E2", bound=Event)
E3 = TypeVar("E3", bound=Event)
E4 = TypeVar("E4", bound=Event)
RequestClass = TypeVar("RequestClass", bound=SyncRequestHandler[Any, Any])
EventClass = TypeVar("EventClass", bound=SyncEventHandler[Any])

#: What a message that was given up does to the followers of its key.
OnDead = Literal["hold", "continue"]


@frozen(kw_only=True)
class Options:
    """
    Where and when a handler runs.

    Args:
        after_commit: after the commit, as a message of its own; best effort.
        consumer: the consumer that runs it, later, when it receives the event.
        retry: how often a consumer tries; None: as the consumer says.
        on_dead: whether the followers of a key wait behind a message that was given up; None: as the consumer says.
    """

    after_commit: bool = field(default=False, validator=validators.instance_of(bool))
    consumer: str | None = field(default=None, validator=validators.optional(validators.instance_of(str)))
    retry: Retry | None = field(default=None, validator=validators.optional(validators.instance_of(Retry)))
    on_dead: OnDead | None = field(default=None, validator=validators.in_([None, "hold", "continue"]))


@frozen(eq=False)  # each method that attrs writes costs at import
class Registration:
    """One handler and the messages that it was registered for."""

    messages: tuple[type[Message], ...]
    handler: Handler
    options: Options
    shape: Shape | None


class Registrar(Generic[M_co]):
    """What ``handles(...)`` returns: registers a handler and returns it unchanged."""

    def __init__(self, registry: Registry, messages: tuple[type[Any], ...], options: Options) -> None:
        self._registry = registry
        self._messages = messages
        self._options = options

    @overload
    def __call__(self: Registrar[Request[R]], handler: type[RequestClass], /) -> type[RequestClass]: ...
    @overload
    def __call__(self: Registrar[Event], handler: type[EventClass], /) -> type[EventClass]: ...
    @overload
    def __call__(
        self: Registrar[Request[R]], handler: Callable[Concatenate[M_co, P], R], /
    ) -> Callable[Concatenate[M_co, P], R]: ...
    @overload
    def __call__(
        self: Registrar[Event], handler: Callable[Concatenate[M_co, P], None], /
    ) -> Callable[Concatenate[M_co, P], None]: ...
    def __call__(self, handler: Any, /) -> Any:
        self._registry.register(self._messages, handler, self._options)
        return handler


class Registry:
    """Holds registrations, in their order."""

    def __init__(self) -> None:
        self._registrations: list[Registration] = []
        self._sealed_by: object = None

    @overload
    def handles(
        self,
        message: type[M],
        /,
        *,
        after_commit: bool = ...,
        consumer: str | None = ...,
        retry: Retry | None = ...,
        on_dead: OnDead | None = ...,
    ) -> Registrar[M]: ...
    @overload
    def handles(
        self,
        e1: type[E1],
        e2: type[E2],
        /,
        *,
        after_commit: bool = ...,
        consumer: str | None = ...,
        retry: Retry | None = ...,
        on_dead: OnDead | None = ...,
    ) -> Registrar[E1 | E2]: ...
    @overload
    def handles(
        self,
        e1: type[E1],
        e2: type[E2],
        e3: type[E3],
        /,
        *,
        after_commit: bool = ...,
        consumer: str | None = ...,
        retry: Retry | None = ...,
        on_dead: OnDead | None = ...,
    ) -> Registrar[E1 | E2 | E3]: ...
    @overload
    def handles(
        self,
        e1: type[E1],
        e2: type[E2],
        e3: type[E3],
        e4: type[E4],
        /,
        *,
        after_commit: bool = ...,
        consumer: str | None = ...,
        retry: Retry | None = ...,
        on_dead: OnDead | None = ...,
    ) -> Registrar[E1 | E2 | E3 | E4]: ...
    def handles(
        self,
        *messages: type[Any],
        after_commit: bool = False,
        consumer: str | None = None,
        retry: Retry | None = None,
        on_dead: OnDead | None = None,
    ) -> Registrar[Any]:
        """
        Register the decorated function or class as the handler of a request, or of one or several events.

        Args:
            after_commit: run it after the commit, as a message of its own; failures are logged; best effort.
            consumer: run it later, wherever the consumer of this name receives the event.
            retry: how often that consumer tries, and how long it waits in between.
            on_dead: ``"hold"``: what follows a given-up message under its key waits; ``"continue"``: it goes on.

        Raises:
            DuplicateHandler: at once, if a request has a handler already.
            InvalidHandler: at once, if the handler cannot handle these messages.
        """
        options = Options(after_commit=after_commit, consumer=consumer, retry=retry, on_dead=on_dead)
        return Registrar(self, messages, options)

    def add(self, message: type[Message], handler: Handler, **options: Any) -> None:
        """Register a handler without a decorator; options as those of ``handles``."""
        self.register((message,), handler, Options(**options))

    def register(self, messages: tuple[type[Message], ...], handler: Handler, options: Options) -> None:
        """Check a handler and keep it."""
        self._refuse_late(handler)
        _check_messages(messages, handler)
        _check_options(messages, handler, options)
        shape = None if is_buildable(handler) else shape_of(handler, messages)
        registration = Registration(messages, handler, options, shape)
        self._refuse_second(registration)
        self._registrations.append(registration)

    def include(self, other: Registry) -> None:
        """Take over all registrations of another registry, in their order."""
        registrations = list(other)
        for registration in registrations:
            self._refuse_late(registration.handler)
            self._refuse_second(registration)
        self._registrations += registrations

    def seal(self, owner: object) -> None:
        """Accept no more registrations: a mediator has compiled what is here."""
        self._sealed_by = owner

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._registrations)

    def _refuse_late(self, handler: Handler) -> None:
        if self._sealed_by is not None:
            raise NotConfigured(
                f"{describe(handler)} was registered after {self._sealed_by!r} handled its first message; import "
                "all handlers before that"
            )

    def _refuse_second(self, new: Registration) -> None:
        for old in self._registrations:
            for message in set(old.messages) & set(new.messages):
                if issubclass(message, Request):
                    raise DuplicateHandler(
                        f"{message.__qualname__} is handled by {describe(old.handler)}; it cannot be handled "
                        f"by {describe(new.handler)} as well"
                    )
                if old.handler is new.handler and old.options.consumer == new.options.consumer:
                    raise DuplicateHandler(f"{message.__qualname__} is handled by {describe(new.handler)} already")


def _check_messages(messages: tuple[Any, ...], handler: Handler) -> None:
    if not messages:
        raise InvalidMessage(f"{describe(handler)}: handles() needs a message class, as in @handles(OrderPlaced)")
    for message in messages:
        if not isinstance(message, type):
            raise InvalidMessage(
                f"{describe(handler)} is to handle {message!r}, which is no class; a generic message is subclassed "
                "first: class AddressChanged(Changed[Address])"
            )
        if not issubclass(message, (Request, Event)):
            raise InvalidMessage(
                f"{describe(handler)} is to handle {message.__qualname__}, which is no message; derive it from "
                "Command, Query, DomainEvent or NotificationEvent"
            )
    if len(messages) > 1 and any(issubclass(m, Request) for m in messages):
        raise InvalidHandler(f"{describe(handler)}: only events can share a handler, requests have one each")
    if len(set(messages)) < len(messages):
        raise DuplicateHandler(f"{describe(handler)} was given the same event twice")


def _check_options(messages: tuple[type[Message], ...], handler: Handler, options: Options) -> None:
    if any(issubclass(m, Request) for m in messages):
        if options.after_commit or options.consumer is not None:
            raise InvalidHandler(
                f"{describe(handler)}: after_commit= and consumer= are for events; to handle a command later, defer it"
            )
        if issubclass(messages[0], Query) and (options.retry is not None or options.on_dead is not None):
            raise InvalidHandler(f"{describe(handler)}: retry= and on_dead= are for what is handled later, not queries")
    elif options.after_commit and options.consumer is not None:
        raise InvalidHandler(f"{describe(handler)}: choose after_commit=True or consumer=, not both")
    elif options.consumer is None and (options.retry is not None or options.on_dead is not None):
        raise InvalidHandler(f"{describe(handler)}: retry= and on_dead= are for handlers with consumer=")
    if options.consumer is not None and not options.consumer.strip():
        raise InvalidHandler(f"{describe(handler)}: consumer={options.consumer!r} is no name")


#: The registry behind the module-level ``handles``, for projects that need no other.
default_registry = Registry()
handles = default_registry.handles
