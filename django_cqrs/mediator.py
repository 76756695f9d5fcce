"""The project's mediator: configured by the setting ``DJANGO_CQRS`` at its first message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from django.apps import apps
from django.utils.module_loading import import_string

from django_cqrs.permissions import permits
from simplecqrs.dispatch import stack
from simplecqrs.errors import InvalidMessage, SagaChanged
from simplecqrs.mediator import Mediator
from simplecqrs.messages import Command, Event, Message
from simplecqrs.registration import Registration
from simplecqrs.registry import Registry, default_registry
from simplecqrs.timing import Moment, Timed, check_times
from simplecqrs.unit import Published

if TYPE_CHECKING:
    from django_cqrs.rehearsal import DryRun
    from django_cqrs.transactions import UnitsOfWork
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.storage import SagaStorage
    from simplecqrs.vocabulary import Vocabulary
    from simplecqrs.wiring import Wiring

__all__ = ["DjangoMediator", "app_label_name", "bus", "project_mediator"]

R = TypeVar("R")


class DjangoMediator(Mediator):
    """
    A mediator whose commands run in transactions and whose events go through the outbox.

    It reads the setting at its first message, so handlers may import it.

    Args:
        registry: which handler handles what.  Default: the registry behind ``simplecqrs.handles``.
    """

    _units: UnitsOfWork

    def __init__(self, registry: Registry = default_registry) -> None:
        super().__init__(registry, permits=permits)
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
            NotPermitted: if who acts here may not give it; later nobody is asked.
        """
        from django_cqrs.deferring import Later, defer

        self._compiled()
        if not isinstance(command, Command):
            raise InvalidMessage(f"{type(command).__qualname__} is no command; only commands can be deferred")
        if type(command) not in self._requests:
            self._find(command)
        self._ask(command)
        check_times(type(command).__qualname__, due, expires)
        defer(self, self._idempotency, command, Later(due, expires, key, idempotency_key))

    def send_all(self, commands: Iterable[Command[R]], /) -> list[R]:
        """
        Send commands in one transaction, in this order, and return their answers; if one fails none has happened.

        Raises:
            InvalidMessage: if one is no command, or if their transactions are on several databases.
            NotPermitted: if one of them may not be given, before the first is begun.
            Exception: what the first that fails raises.
        """
        from django_cqrs.batches import send_in_one

        self._compiled()
        given = list(commands)
        for command in given:
            self._ask(command)
        return send_in_one(self, self._units, given)

    def dry_run(self, command: Command[R], /) -> DryRun[R]:
        """
        Send a command in a transaction that is rolled back; return its answer, and what it would have published.

        Nothing is stored, and no after-commit handler runs.  But what handlers do outside of the databases is done:
        files, mails, requests to others.  Sequences move on as well.

        Raises:
            Exception: whatever ``send`` raises.
        """
        from django_cqrs.rehearsal import rehearse

        self._compiled()
        if not isinstance(command, Command):
            raise InvalidMessage(f"{type(command).__qualname__} is no command; only commands have dry runs")
        self._ask(command)
        return rehearse(self, self._units, command)

    def _ask(self, command: Command[Any]) -> None:
        """Raise NotPermitted if who acts here may not give a command."""
        gate = self._gate(type(command))
        if gate is not None:
            gate(command)

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
        if found.tracing:
            from simplecqrs.middlewares import traced

            self._middlewares = (traced(naming=app_label_name), *self._middlewares)
        if found.container is not None:
            self._container = import_string(found.container)
        self._units = UnitsOfWork(self)
        self._transaction = self._units.open
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

    def refuse_newer_saga(self, saga: str, fingerprint: str, /) -> None:
        """
        Refuse a saga that was stored under the definition of a newer release, which may have more steps than ours.

        Raises:
            SagaChanged: if there is such a release.
        """
        from django_cqrs.releases import handles_of, newer_than

        if any(newer.sagas.get(saga) == fingerprint for newer in newer_than(handles_of(self))):
            raise SagaChanged(f"the saga {saga!r} goes on under the definition of a newer release than this one")

    def _how_to_provide(self, kind: str) -> str:
        if self._container is not None:
            return super()._how_to_provide(kind)
        return f"name a container that makes {kind} in CONTAINER of DJANGO_CQRS"

    def _refuse_uncommitted(self, message: Message) -> None:
        from django_cqrs.transactions import refuse_inside_transaction

        refuse_inside_transaction(message, self.alias(message))

    def in_thread(self) -> AbstractContextManager[object]:
        """Let a thread work where this one does, and close its connections when it ends."""
        from django_cqrs.schemas import CarriedSchemas

        return CarriedSchemas()

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
