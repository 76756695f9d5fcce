"""The project's mediator: configured by the setting ``DJANGO_CQRS`` at its first message."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections, transaction
from django.utils.module_loading import import_string

from simplecqrs.dispatch import stack, top
from simplecqrs.errors import InvalidMessage
from simplecqrs.idempotency import is_first
from simplecqrs.mediator import Mediator
from simplecqrs.messages import Command, Event, Message
from simplecqrs.metadata import active_context, new_metadata
from simplecqrs.queue import DEFERRED, lane_of
from simplecqrs.registration import Registration
from simplecqrs.registry import Registry, default_registry
from simplecqrs.timing import Moment, Timed, check_times, expires_at
from simplecqrs.unit import Published

if TYPE_CHECKING:
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.storage import SagaStorage
    from simplecqrs.vocabulary import Vocabulary
    from simplecqrs.wiring import Wiring

__all__ = ["DjangoMediator", "app_label_name", "bus", "project_mediator"]


class DjangoMediator(Mediator):
    """
    A mediator whose commands run in transactions and whose events go through the outbox.

    It reads the setting at its first message, so handlers may import it.

    Args:
        registry: which handler handles what.  Default: the registry behind ``simplecqrs.handles``.
    """

    def __init__(self, registry: Registry = default_registry) -> None:
        super().__init__(registry)
        self._definitions: dict[str, Saga[Any]] | None = None

    def publish(self, event: Event, /) -> None:
        """
        Tell all who want to know that something has happened.

        Inside a handler it joins the dispatch that is going on.  Elsewhere it runs the event's handlers and stores
        it for the relay, in the transaction that is open.

        Raises:
            PublishedOutsideTransaction: if there is none.
        """
        from django_cqrs.transactions import require_transaction

        if not stack.frames:
            self._compiled()
            require_transaction(event, self.alias(event.event if isinstance(event, Timed) else event))
        super().publish(event)

    def defer(
        self,
        command: Command[Any],
        /,
        *,
        due: Moment | None = None,
        expires: Moment | None = None,
        key: str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """
        Store a command to be handled later, once, by the consumer ``deferred``.

        It is stored in the transaction that is open, and shares its fate.

        Args:
            due: when it is handled, at the earliest: an aware time, or a timedelta from now.  Default: at once.
            expires: when it is not handled any more: an aware time, or a timedelta from ``due`` on.  Default: never.
            key: commands of one key are handled in the order in which they were deferred; with ``due``, in that in
                which they became due.  Default: what the class says.
            idempotency_key: of two commands with the same key only the first is stored.

        Raises:
            IdempotencyKeyReused: if the key belongs to another command, or to one with other content.
            InvalidMessage: if it is no command, or if a time has no time zone.
            HandlerNotFound: if it has no handler.
        """
        from django_cqrs.queue import inbox
        from django_cqrs.schedule import keep, warn_of_key

        self._compiled()
        if not isinstance(command, Command):
            raise InvalidMessage(f"{type(command).__qualname__} is no command; only commands can be deferred")
        if type(command) not in self._requests:
            self._find(command)
        check_times(type(command).__qualname__, due, expires)
        metadata = new_metadata(top(stack.frames).metadata if stack.frames else None, active_context())
        ends = expires_at(due, expires, metadata.time)
        envelope = self.vocabulary.envelope(command, metadata, key=key, expires=ends)
        alias, lane = self.alias(command), lane_of(envelope)
        with self._first(command, alias, idempotency_key) as is_first:
            if is_first and due is None:
                inbox(alias).append([(DEFERRED, lane, envelope)])
            elif is_first and due is not None:
                warn_of_key(command, envelope.key)
                keep(alias, "inbox", [(due, DEFERRED, lane, envelope)])

    @contextmanager
    def _first(self, command: Command[Any], alias: str, key: str | None) -> Generator[bool, None, None]:
        """Claim a command's key in a transaction that holds what is done with it; yield whether nobody had it."""
        if key is None:
            yield True
            return
        with transaction.atomic(using=alias):
            yield is_first(self._idempotency, self.vocabulary, command, key)

    def alias(self, message: Message) -> str:
        """Return the database alias of a message's transaction."""
        from django_cqrs.conf import settings

        return settings().alias_for(self.vocabulary.name(type(message)))

    def _make_vocabulary(self) -> Vocabulary:
        return self.vocabulary_of(self._messages())

    def vocabulary_of(self, classes: Sequence[type[Message]]) -> Vocabulary:
        """Translate these message classes, and their subclasses, as this project does."""
        from django_cqrs.codecs import project_codec, project_codecs, project_packing
        from django_cqrs.conf import settings

        # Any command may be deferred, so it has a name of its own; but one with a file in it need not be.
        stored, encoded = (Command, Event), self._encoded()
        return self._vocabulary_of(
            classes,
            codec=project_codec(),
            codecs=project_codecs(),
            packing=project_packing(),
            naming=app_label_name,
            source=settings().source,
            stored=stored,
            encoded=encoded,
        )

    def _compile(self) -> Wiring:
        self.configure()
        return super()._compile()

    def registrations(self) -> list[Registration]:
        """Return who handles what; handlers in a consumer's apps belong to it, see the setting ``apps``."""
        from django_cqrs.consumers import of_its_app

        return [of_its_app(registration) for registration in self.registry]

    def configure(self) -> None:
        """Take middlewares and container from the settings; the checks ask for this as well."""
        from django_cqrs.conf import settings
        from django_cqrs.guards import query_guard
        from django_cqrs.idempotency import DjangoIdempotency
        from django_cqrs.transactions import UnitsOfWork

        found = settings()
        self._middlewares = (*(import_string(path) for path in found.middlewares), query_guard(self.alias))
        if found.container is not None:
            self._container = import_string(found.container)
        self._transaction = UnitsOfWork(self).open
        self._idempotency = DjangoIdempotency(self.alias)
        self._event_workers = found.event_workers
        self._scope = found.scope

    def _make_sagas(self) -> SagaStorage:
        from django_cqrs.sagas import DjangoSagas

        return DjangoSagas(self)

    @property
    def saga_definitions(self) -> Mapping[str, Saga[Any]]:
        """Return the sagas that are registered, by their names."""
        from simplecqrs.saga.adopting import sagas_of

        if self._definitions is None or self._startup.made is None:  # more may be registered
            self._definitions = sagas_of(self)
        return self._definitions

    def saga_alias(self, name: str) -> str:
        """Return the database alias of a saga: that of its steps' messages."""
        from django_cqrs.conf import settings

        return settings().alias_for(f"saga.{name}")

    def _how_to_provide(self, kind: str) -> str:
        if self._container is not None:
            return super()._how_to_provide(kind)
        return f"name a container that makes {kind} in CONTAINER of DJANGO_CQRS"

    def _refuse_uncommitted(self, message: Message) -> None:
        from django_cqrs.transactions import refuse_inside_transaction

        refuse_inside_transaction(message, self.alias(message))

    @contextmanager
    def in_thread(self) -> Generator[None, None, None]:
        """Close the connections that a thread has opened when it ends."""
        try:
            yield
        finally:
            connections.close_all()

    def _delays(self) -> bool:
        return True

    def _ship_function(self) -> Callable[[list[Published]], None]:
        """Accept what goes out: each transaction's unit stores it, see ``UnitOfWork``."""
        from django_cqrs.transactions import refuse_without_unit

        return refuse_without_unit


def app_label_name(cls: type[Message]) -> str:
    """Name a message ``<app_label>.<ClassName>``; outside of any app, by its class alone."""
    config = apps.get_containing_app_config(cls.__module__)
    return f"{config.label}.{cls.__name__}" if config is not None else cls.__name__


def project_mediator() -> DjangoMediator:
    """Return the mediator that relay, consumers and tasks use: the setting MEDIATOR, ``django_cqrs.bus`` by default."""
    from django_cqrs.conf import settings

    return import_string(settings().mediator)  # type: ignore[no-any-return]


#: The project's mediator.
bus = DjangoMediator()
