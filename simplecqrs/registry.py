"""Which handler handles which message, and when and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from simplecqrs.backoff import Retry
from simplecqrs.errors import DuplicateHandler, NotConfigured
from simplecqrs.handlers import (
    Combined,
    Handler,
    SyncEventHandler,
    SyncRequestHandler,
    SyncStreamHandler,
    describe,
)
from simplecqrs.messages import Event, Message, Request, Stream
from simplecqrs.registration import OnDead, OnError, Options, PerItem, Registration, check_messages, check_options
from simplecqrs.shapes import parts_of

__all__ = ["Registrar", "Registry", "default_registry", "handles"]

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
StreamClass = TypeVar("StreamClass", bound=SyncStreamHandler[Any, Any])


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
    def __call__(self: Registrar[Stream[R]], handler: type[StreamClass], /) -> type[StreamClass]: ...
    @overload
    def __call__(self: Registrar[Request[R]], handler: Combined[M_co, R], /) -> Combined[M_co, R]: ...
    @overload
    def __call__(self: Registrar[Event], handler: Combined[M_co, None], /) -> Combined[M_co, None]: ...
    @overload
    def __call__(
        self: Registrar[Stream[R]], handler: Combined[M_co, Iterator[R]], /
    ) -> Combined[M_co, Iterator[R]]: ...
    @overload
    def __call__(
        self: Registrar[Request[R]], handler: Callable[Concatenate[M_co, P], R], /
    ) -> Callable[Concatenate[M_co, P], R]: ...
    @overload
    def __call__(
        self: Registrar[Event], handler: Callable[Concatenate[M_co, P], None], /
    ) -> Callable[Concatenate[M_co, P], None]: ...
    @overload
    def __call__(
        self: Registrar[Stream[R]], handler: Callable[Concatenate[M_co, P], Iterator[R]], /
    ) -> Callable[Concatenate[M_co, P], Iterator[R]]: ...
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
        on_error: OnError | None = ...,
        transaction: PerItem | None = ...,
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
        on_error: OnError | None = ...,
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
        on_error: OnError | None = ...,
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
        on_error: OnError | None = ...,
    ) -> Registrar[E1 | E2 | E3 | E4]: ...
    def handles(
        self,
        *messages: type[Any],
        after_commit: bool = False,
        consumer: str | None = None,
        retry: Retry | None = None,
        on_dead: OnDead | None = None,
        on_error: OnError | None = None,
        transaction: PerItem | None = None,
    ) -> Registrar[Any]:
        """
        Register the decorated function or class for a request, a stream, or one or several events.

        Args:
            after_commit: run it after the commit, as a message of its own; failures are logged; best effort.
            consumer: run it later, wherever the consumer of this name receives the event.
            retry: how often that consumer tries, and how long it waits in between.
            on_dead: ``"hold"``: what follows a given-up message under its key waits; ``"continue"``: it goes on.
            on_error: what becomes of a message that failed, by the class of the exception: a ``Retry`` or ``"retry"``,
                ``"discard"``, ``"dead-letter"``, or a ``Pause`` or ``"pause"`` of the whole consumer.
            transaction: of a stream that writes.  ``"item"``: each item, with its events, is committed before it is
                handed out; ``"all"``: everything is committed before the first item is handed out.

        Raises:
            DuplicateHandler: at once, if a request or a stream has a handler already.
            InvalidHandler: at once, if the handler cannot handle these messages.
        """
        options = Options(
            after_commit=after_commit,
            consumer=consumer,
            retry=retry,
            on_dead=on_dead,
            on_error=on_error or {},
            transaction=transaction,
        )
        return Registrar(self, messages, options)

    def add(self, message: type[Message], handler: Handler, **options: Any) -> None:
        """Register a handler without a decorator; options as those of ``handles``."""
        self.register((message,), handler, Options(**options))

    def register(self, messages: tuple[type[Message], ...], handler: Handler, options: Options) -> None:
        """Check a handler and keep it."""
        self._refuse_late(handler)
        check_messages(messages, handler)
        check_options(messages, handler, options)
        registration = Registration(messages, handler, options, parts_of(handler, messages))
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
                if not issubclass(message, Event):
                    raise DuplicateHandler(
                        f"{message.__qualname__} is handled by {describe(old.handler)}; it cannot be handled "
                        f"by {describe(new.handler)} as well"
                    )
                if old.handler is new.handler and old.options.consumer == new.options.consumer:
                    raise DuplicateHandler(f"{message.__qualname__} is handled by {describe(new.handler)} already")


#: The registry behind the module-level ``handles``, for projects that need no other.
default_registry = Registry()
handles = default_registry.handles
