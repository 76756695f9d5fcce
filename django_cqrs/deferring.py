"""Deferred commands: kept in the inbox of the consumer ``deferred``, or in the schedule until they are due."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen
from django.db import transaction

from django_cqrs.queue import inbox
from django_cqrs.schedule import keep, warn_of_key
from django_cqrs.tracing import message_spans
from simplecqrs.dispatch import stack, top
from simplecqrs.idempotency import IdempotencyStore, is_first
from simplecqrs.messages import Command
from simplecqrs.metadata import active_context, new_metadata
from simplecqrs.queue import DEFERRED, lane_of
from simplecqrs.timing import Moment, expires_at

if TYPE_CHECKING:
    from django_cqrs.mediator import DjangoMediator

__all__ = ["Later", "defer"]


@frozen
class Later:
    """When a command is handled, and behind which others; see ``DjangoMediator.defer``."""

    due: Moment | None
    expires: Moment | None
    key: str | None
    idempotency_key: str | None


def defer(bus: DjangoMediator, store: IdempotencyStore | None, command: Command[Any], later: Later) -> None:
    """Store a command in the transaction that is open."""
    metadata = new_metadata(top(stack.frames).metadata if stack.frames else None, active_context())
    ends = expires_at(later.due, later.expires, metadata.time)
    envelope = bus.vocabulary.envelope(command, metadata, key=later.key, expires=ends)
    spans = message_spans()
    envelope = envelope if spans is None else spans.created(envelope)
    alias, lane = bus.alias(command), lane_of(envelope)
    with _first(bus, store, command, later.idempotency_key) as is_new:
        if is_new and later.due is None:
            inbox(alias).append([(DEFERRED, lane, envelope)])
        elif is_new and later.due is not None:
            warn_of_key(command, envelope.key)
            keep(alias, "inbox", [(later.due, DEFERRED, lane, envelope)])


@contextmanager
def _first(
    bus: DjangoMediator, store: IdempotencyStore | None, command: Command[Any], key: str | None
) -> Generator[bool, None, None]:
    """Claim a command's key in a transaction that holds what is done with it; yield whether nobody had it."""
    if key is None:
        yield True
        return
    with transaction.atomic(using=bus.alias(command)):
        yield is_first(store, bus.vocabulary, command, key)
