"""What a mediator is made of: its handlers and words, what is wrong with them, and the wiring that they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from simplecqrs.errors import NotConfigured
from simplecqrs.handlers import is_combined
from simplecqrs.messages import IntegrationEvent, Message, Permission, traits
from simplecqrs.problems import (
    contradictions,
    missing_dependencies,
    missing_publisher,
    unguarded,
    wrong_middlewares,
)
from simplecqrs.shipping import ship
from simplecqrs.wiring import Wiring

if TYPE_CHECKING:
    from simplecqrs.codec import Codec
    from simplecqrs.codec.routing import Codecs
    from simplecqrs.containers import Container
    from simplecqrs.idempotency import IdempotencyStore
    from simplecqrs.levels import EventErrors
    from simplecqrs.packing import Packing
    from simplecqrs.pipeline import Gate, Middleware
    from simplecqrs.registration import Registration
    from simplecqrs.registry import Registry
    from simplecqrs.saga.storage import SagaStorage
    from simplecqrs.startup import Once
    from simplecqrs.transactions import Transaction
    from simplecqrs.transport import Publisher
    from simplecqrs.unit import Published
    from simplecqrs.upcasting import Upcasters
    from simplecqrs.vocabulary import Vocabulary
    from simplecqrs.wiring import Scope

__all__ = ["Composition", "Permits"]

#: Is asked with a message and what it needs; raises NotPermitted.
Permits = Callable[[Any, Permission], object]


class Composition:
    """The half of a mediator that is done with before its first message: see ``Mediator`` for what it is given."""

    registry: Registry
    _middlewares: tuple[Middleware, ...]
    _transaction: Transaction | None
    _container: Container | None
    _publisher: Publisher | None
    _codec: Codec | None
    _codecs: Codecs | None
    _packing: Packing | None
    _upcasters: Upcasters | None
    _idempotency: IdempotencyStore | None
    _sagas: SagaStorage | None
    _permits: Permits | None
    _source: str
    _max_generations: int
    _scope: Scope
    _event_workers: int
    _event_errors: EventErrors
    _startup: Once[Wiring]
    _vocabulary: Vocabulary | None

    def check(self) -> None:
        """
        Raise one error that lists everything that is wrong with the wiring.

        Raises:
            NotConfigured: with all ``problems``.
        """
        problems = self.problems()
        if problems:
            raise NotConfigured("the wiring of this mediator cannot work:", problems)

    def problems(self) -> list[str]:
        """Return everything that is wrong with the wiring, each with its cure."""
        found = [
            *self.vocabulary.problems(),
            *contradictions(self._event_workers, self._event_errors, self._transaction, self._idempotency),
            *wrong_middlewares(self._middlewares),
        ]
        for registration in self.registrations():
            found += registration.handler.problems(self) if is_combined(registration.handler) else ()
            found += missing_dependencies(registration, self._container, self._how_to_provide)
            found += missing_publisher(registration, ships=self.ships)
            found += unguarded(registration, guarded=self._permits is not None)
        return found

    def way_of(self, request: type[Message], /) -> Callable[[Any], Any] | None:
        """
        Return what requests of a class go through, when everything is ready for the first message; None: no handler.

        ``send`` looks it up for each request.

        Raises:
            NotConfigured: if the wiring is wrong.
        """
        return self._compiled().requests.get(request)

    def registrations(self) -> list[Registration]:
        """Return who handles what, in the order in which it was registered."""
        return list(self.registry)

    def _how_to_provide(self, kind: str) -> str:
        how = getattr(self._container, "how_to_provide", None)  # no container, or one of somebody else's
        return str(how(kind)) if how is not None else f"add it: provide={{{kind}: ...}}"

    @property
    def ships(self) -> bool:
        """Tell whether events can leave the process."""
        return self._publisher is not None or self._transaction is not None

    @property
    def has_transaction(self) -> bool:
        """Tell whether commands run in a transaction."""
        return self._transaction is not None

    def _delays(self) -> bool:
        """Let Django's mediator, which has an outbox, keep events until they are due."""
        return False

    @property
    def sagas(self) -> SagaStorage:
        """Return what keeps sagas."""
        if self._sagas is None:
            self._sagas = self._make_sagas()
        return self._sagas

    def _make_sagas(self) -> SagaStorage:
        from simplecqrs.saga.memory import MemorySagas

        return MemorySagas(codec=self._codec)

    @property
    def vocabulary(self) -> Vocabulary:
        """Translate between messages, names and envelopes."""
        if self._startup.made is None:  # more may be registered
            return self._make_vocabulary()
        if self._vocabulary is None:
            self._vocabulary = self._make_vocabulary()
        return self._vocabulary

    def _make_vocabulary(self) -> Vocabulary:
        return self._vocabulary_of(self._messages(), source=self._source, stored=self._encoded())

    def _vocabulary_of(self, classes: Sequence[type[Message]], **options: Any) -> Vocabulary:
        from simplecqrs.codec import JSONCodec
        from simplecqrs.upcasting import default_upcasters
        from simplecqrs.vocabulary import Vocabulary

        own: dict[str, Any] = {"codec": self._codec or JSONCodec(), "codecs": self._codecs}
        if self._packing is not None:
            own["packing"] = self._packing
        return Vocabulary(classes, upcasters=self._upcasters or default_upcasters, **{**own, **options})

    def _messages(self) -> list[type[Message]]:
        return [m for r in self.registrations() for m in r.messages]

    def _encoded(self) -> list[type[Message]]:
        """Return the messages that leave the process."""
        consumed = [m for r in self.registrations() if r.options.consumer is not None for m in r.messages]
        return [IntegrationEvent, *consumed]

    def _compiled(self) -> Wiring:
        return self._startup.get()

    def _compile(self) -> Wiring:
        self.check()
        self.registry.seal(self)
        wiring = Wiring(
            self.registrations(),
            middlewares=self._middlewares,
            transaction=self._transaction,
            container=self._container,
            scope=self._scope,
            ship=self._ship_function(),
            delays=self._delays(),
            gate=self._gate,
            commits=self._refuse_uncommitted,
            max_generations=self._max_generations,
            event_workers=self._event_workers,
            in_thread=self.in_thread,
            event_errors=self._event_errors,
        )
        wiring.events.bus = self
        return wiring

    def _gate(self, kind: type[Message]) -> Gate | None:
        """Return what is to be asked before messages of a class; None of those that say no permission."""
        needed, permits = traits(kind).permission, self._permits
        return None if needed is None or permits is None else lambda message: permits(message, needed)

    def _refuse_uncommitted(self, message: Message) -> None:
        """Let Django's mediator refuse what is to be committed where a transaction is open already."""

    def refuse_newer_saga(self, saga: str, fingerprint: str, /) -> None:
        """Let Django's mediator refuse a stored saga that only a newer release may go on with."""

    def in_thread(self) -> AbstractContextManager[object]:
        """
        Return what surrounds the life of a thread that works for this one.

        It may be entered by several threads, and again by each.
        """
        return nullcontext()

    def _ship_function(self) -> Callable[[list[Published]], None] | None:
        publisher = self._publisher
        return None if publisher is None else lambda published: ship(publisher, self.vocabulary.envelopes(published))
