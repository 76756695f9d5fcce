"""What becomes of messages that a consumer's handlers failed on: as the handler says, then as its settings do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.utils.module_loading import import_string

from django_cqrs.conf import settings
from django_cqrs.entries import Settings
from django_cqrs.errors import OutboxFull
from django_cqrs.mediator import DjangoMediator
from simplecqrs.backoff import Pause
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotConfigured
from simplecqrs.policies import Policy
from simplecqrs.registration import Fate, OnError, check_on_error

__all__ = ["policy_of", "problems_of"]


def policy_of(name: str, mediator: DjangoMediator) -> Callable[[Envelope], Policy]:
    """
    Return what tells a consumer what becomes of a message that failed.

    Raises:
        NotConfigured: if an exception of its settings cannot be found.
    """
    # No attempt is spent on what waits for a broker: the message would be dead before that is back.
    of_consumer: OnError = {OutboxFull: Pause(), **_found(name, settings().consumer(name).on_error)}

    def policy(envelope: Envelope) -> Policy:
        found, grace = settings().consumer(name), settings().deploy_grace
        options = mediator.consumer_options(envelope, name)
        if options is None:
            return Policy(found.retry, found.on_dead, of_consumer, grace)
        fates: OnError = {**of_consumer, **options.on_error}
        return Policy(options.retry or found.retry, options.on_dead or found.on_dead, fates, grace)

    return policy


def problems_of(found: Settings) -> Iterator[str]:
    """Say which exceptions of consumers' settings cannot be found."""
    for name, consumer in found.consumers.items():
        try:
            _found(name, consumer.on_error)
        except NotConfigured as error:
            yield str(error)


def _found(name: str, on_error: Any) -> OnError:
    """Find the exceptions that are named by dotted paths, which a settings file may not be able to import yet."""
    fates: dict[type[Exception], Fate] = {}
    for cls, fate in on_error.items():
        try:
            fates[import_string(cls) if isinstance(cls, str) else cls] = fate
        except ImportError as error:
            raise NotConfigured(f"CONSUMERS[{name!r}]: on_error: {cls!r} cannot be imported: {error}") from error
    try:
        check_on_error(None, None, fates)
    except TypeError as error:
        raise NotConfigured(f"CONSUMERS[{name!r}]: {error}") from error
    return fates
