"""The transactions in which sagas are stored: the one that is open, or one of their own."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction

from django_cqrs.errors import InsideTransaction
from django_cqrs.guards import acting_on
from django_cqrs.locks import write_first
from django_cqrs.transactions import in_transaction
from simplecqrs.saga.beginning import undoing

if TYPE_CHECKING:
    from simplecqrs.saga.step import Step

__all__ = ["may_be_asked_again", "refuse_inside", "together", "writing"]


@contextmanager
def together(alias: str) -> Generator[bool, None, None]:
    """Join the transaction that is open, or open one; yield whether it is ours alone."""
    connection = connections[alias]
    if connection.in_atomic_block or not connection.get_autocommit():
        yield False
        return
    with transaction.atomic(using=alias):
        if connection.vendor == "sqlite":
            write_first(connection)
        yield True


@contextmanager
def writing(alias: str) -> Generator[bool, None, None]:
    """Do the same for what is no part of the command that goes on here, which may be another alias's."""
    with acting_on(alias), together(alias) as alone:
        yield alone


def may_be_asked_again(step: Step[Any], action: str) -> bool:
    """Tell whether a step may be called twice; if not, it is stored that it is called, and then it is."""
    return step.idempotent or undoing(action)


def refuse_inside(alias: str, saga: str) -> None:
    if in_transaction(alias):
        raise InsideTransaction(
            f"the saga {saga!r} commits each of its steps, which cannot be while a transaction is open on {alias!r} "
            "already: start it there instead, saga.start(bus, state), for the consumer to run, or run it outside (see "
            "ATOMIC_REQUESTS and @transaction.non_atomic_requests)"
        )
