"""The mediator: ``send`` asks one handler, ``publish`` tells all who want to know."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from simplecqrs.composition import Composition, Permits
from simplecqrs.dispatch import stack, top
from simplecqrs.messages import Event, Message, Request, Stream
from simplecqrs.pipeline import Call, Middleware
from simplecqrs.problems import (
    chosen_container,
    not_sendable,
    not_streamable,
    refuse_unknown,
)
from simplecqrs.receiving import consumer_options, receive
from simplecqrs.registration import Options
from simplecqrs.registry import Registry, default_registry
from simplecqrs.startup import Once
from simplecqrs.wiring import Scope, Wiring

if TYPE_CHECKING:
    from simplecqrs.codec import Codec
    from simplecqrs.codec.routing import Codecs
    from simplecqrs.containers import Container
    from simplecqrs.envelope import Envelope
    from simplecqrs.idempotency import Concurrent, IdempotencyStore
    from simplecqrs.levels import EventErrors
    from simplecqrs.packing import Packing
    from simplecqrs.saga.storage import SagaStorage
    from simplecqrs.transactions import Transaction
    from simplecqrs.transport import Publisher
    from simplecqrs.upcasting import Upcasters
    from simplecqrs.vocabulary import Vocabulary

__all__ = ["Mediator"]

R = TypeVar("R")


class Mediator(Composition):
    """
    Sends requests to their handlers and events to all who want to know.

    Args:
        registry: which handler handles what.  Default: the registry behind the module-level ``handles``.
        middlewares: surround each call of a handler, the first one outermost.
        transaction: from a message to a context manager, opened round each command inside the middlewares.
        provide: a factory for each type that handlers take by keyword.
        container: makes those types instead; see ``simplecqrs.containers``.
        publisher: takes the integration events, in one call, when the outermost unit of work ends.
        codec: makes bytes of messages.  Default: JSON.
        codecs: makes those of some, by their class or by a pattern of their names.
        packing: compresses payloads, or puts them elsewhere.  Default: neither.
        upcasters: bring payloads of old versions up to date.  Default: those that ``upcasts`` has registered.
        idempotency: keeps idempotency keys and answers; ``transaction`` is to be its own.
        sagas: keeps sagas.  Default: in memory.
        permits: asked with each message that says ``permission=``, and with what it says, before anything is done for
            it; raises ``NotPermitted`` if it may not be given.
        source: who we are, in envelopes.
        max_generations: how long events may go on causing events.
        scope: how long dependencies are shared: for the outermost ``"message"`` and all that it causes, or for each
            ``"handler"``.
        event_workers: how many handlers of events may run at a time, in threads, where no transaction is open.
        event_errors: what becomes of their failures there: ``"raise"`` the first, ``"collect"`` all in a
            ``HandlersFailed``, or ``"log"`` them.
        on_startup: called in this order, once, before the first message.

    The mediator compiles everything before its first message; what is registered later is an error.  Threads may
    share it.
    """

    def __init__(
        self,
        registry: Registry = default_registry,
        *,
        middlewares: Sequence[Middleware] = (),
        transaction: Transaction | None = None,
        provide: Mapping[Any, Callable[..., object]] | None = None,
        container: Container | None = None,
        publisher: Publisher | None = None,
        codec: Codec | None = None,
        codecs: Codecs | None = None,
        packing: Packing | None = None,
        upcasters: Upcasters | None = None,
        idempotency: IdempotencyStore | None = None,
        sagas: SagaStorage | None = None,
        permits: Permits | None = None,
        source: str = "",
        max_generations: int = 50,
        scope: Scope = "message",
        event_workers: int = 1,
        event_errors: EventErrors = "raise",
        on_startup: Iterable[Callable[[], object]] = (),
    ) -> None:
        refuse_unknown("scope", scope, ("message", "handler"))
        refuse_unknown("event_errors", event_errors, ("raise", "collect", "log"))
        self.registry = registry
        self._middlewares = tuple(middlewares)
        self._transaction = transaction
        self._container = chosen_container(provide, container)
        self._publisher = publisher
        self._codec = codec
        self._codecs = codecs
        self._packing = packing
        self._upcasters = upcasters
        self._idempotency = idempotency
        self._sagas = sagas
        self._permits = permits
        self._source = source
        self._max_generations = max_generations
        self._scope: Scope = scope
        self._event_workers = event_workers
        self._event_errors: EventErrors = event_errors
        self._startup = Once(self._compile, on_startup, self._ready)
        self._vocabulary: Vocabulary | None = None
        self._requests: dict[type[Any], Call] = {}
        self._streams: dict[type[Any], Call] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {len(list(self.registry))} handlers>"

    # Not keyword-only: that would cost every send a tenth of its time.
    def send(self, request: Request[R], /, idempotency_key: str | None = None, concurrent: Concurrent = "wait") -> R:
        """
        Hand a command or a query to its handler and return the answer.

        Args:
            idempotency_key: of two commands with the same key one runs; the other one gets its answer.
            concurrent: whether one that comes while the first is at work waits for it, or raises.

        Raises:
            HandlerNotFound: if it has no handler.
            NotPermitted: if it says ``permission=``, and who asks has not got it.
            IdempotencyKeyReused: if the key belongs to another command, or to one with other content.
            IdempotencyKeyInUse: if the first one is still at work.
            NotConfigured: if the wiring is wrong, before the first message.
            Exception: whatever the handler, or the handler of an event that it published, raises.
        """
        if idempotency_key is not None:
            from simplecqrs.idempotency import once  # which few need

            self._find(request)
            layer = once(self._idempotency, self.vocabulary, request, idempotency_key, concurrent)
            return self._compiled().with_layer(type(request), layer)(request)  # type: ignore[no-any-return]
        try:
            run = self._requests[type(request)]
        except KeyError:
            run = self._send_first  # called below, so that what it raises does not mention the KeyError
        return run(request)  # type: ignore[no-any-return]

    def _send_first(self, request: Message) -> Any:
        return self._find(request)(request)

    def stream(self, stream: Stream[R], /) -> Generator[R, None, None]:
        """
        Answer item by item.

        The handler runs only while the next item is asked for.  Closing the generator, or dropping it, ends handler
        and dependencies at once.

        Raises:
            HandlerNotFound: if it has no handler.
            NotConfigured: if the wiring is wrong, before the first message.
            Exception: whatever the handler raises, when an item is asked for.
        """
        run = self._streams.get(type(stream)) or self._find_stream(stream)
        return run(stream)  # type: ignore[no-any-return]

    def publish(self, event: Event, /) -> None:
        """
        Tell all who want to know that something has happened.

        Inside a handler it joins the dispatch that is going on, as the handler's own ``publish`` does.

        Raises:
            InvalidMessage: if it is no event.
            NotPublished: if it is to leave the process and there is no publisher, or none that accepts it.
        """
        events = self._compiled().events
        frames = stack.frames
        if frames:
            dispatch = top(frames)
            if dispatch.wiring is events and dispatch.working:
                dispatch.publish(event)
                return
        events.publish(event)

    def receive(self, envelope: Envelope, /, *, consumer: str, allow_commands: bool = False) -> bool:
        """
        Handle a message that came from elsewhere, as this consumer; all its handlers in one unit of work.

        Args:
            allow_commands: whoever can write to this consumer's broker may give commands.

        Returns:
            False if the consumer has no handler for it.

        Raises:
            CommandRefused: if it is a command and these are not allowed.
            UnknownMessage: if it came in a version, or a format, that this release does not know.
            InvalidPayload: if it cannot be decoded.
            Exception: whatever a handler raises.
        """
        wiring, vocabulary = self._compiled(), self.vocabulary
        if consumer_options(envelope, consumer, wiring, vocabulary) is None:
            return False
        receive(envelope, consumer, wiring, vocabulary, allow_commands=allow_commands)
        return True

    def consumer_options(self, envelope: Envelope, consumer: str) -> Options | None:
        """Return what was said where a consumer's handlers of this message were registered; None: it has none."""
        return consumer_options(envelope, consumer, self._compiled(), self.vocabulary)

    def _find(self, request: Message) -> Call:
        requests = self._compiled().requests
        if type(request) in requests:
            return requests[type(request)]
        raise not_sendable(request)

    def _find_stream(self, stream: Message) -> Call:
        streams = self._compiled().streams
        if type(stream) in streams:
            return streams[type(stream)]
        raise not_streamable(stream)

    def _ready(self, wiring: Wiring) -> None:
        self._requests, self._streams = wiring.requests, wiring.streams
