"""Dry runs: what a command would answer and publish, in transactions that are rolled back."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import frozen
from django.db import connections, transaction

from django_cqrs.relay import aliases
from simplecqrs.messages import Command, Event

if TYPE_CHECKING:
    from django_cqrs.mediator import DjangoMediator
    from django_cqrs.transactions import UnitOfWork, UnitsOfWork

__all__ = ["DryRun", "rehearse"]

R = TypeVar("R")


@frozen
class DryRun(Generic[R]):
    """
    What a command would have come to.

    Args:
        answer: its handler's.
        events: what was published, and would have been handled after the commit or stored, in that order.
    """

    answer: R
    events: tuple[Event, ...]


def rehearse(bus: DjangoMediator, units: UnitsOfWork, command: Command[R]) -> DryRun[R]:
    """Send a command in transactions of all aliases on which commands run, and roll them back."""
    with ExitStack() as opened:
        begun = [opened.enter_context(_undone(units, alias)) for alias in aliases()]
        before = [len(unit.events) for unit in begun]
        answer = bus.send(command)
        events = [event for unit, known in zip(begun, before, strict=True) for event in unit.events[known:]]
    return DryRun(answer, tuple(events))


@contextmanager
def _undone(units: UnitsOfWork, alias: str) -> Generator[UnitOfWork, None, None]:
    """Open a transaction that is rolled back; what was published is stored first, since that may fail as well."""
    with transaction.atomic(using=alias):
        with units.joined(connections[alias]) as unit:
            yield unit
        transaction.set_rollback(True, using=alias)
