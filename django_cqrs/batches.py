"""Many commands in one transaction: all of them, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from django.db import connections, transaction

from simplecqrs.errors import InvalidMessage
from simplecqrs.messages import Command

if TYPE_CHECKING:
    from django_cqrs.mediator import DjangoMediator
    from django_cqrs.transactions import UnitsOfWork

__all__ = ["send_in_one"]

R = TypeVar("R")


def send_in_one(bus: DjangoMediator, units: UnitsOfWork, commands: Sequence[Command[R]]) -> list[R]:
    """Send commands one after the other in one transaction, whose events become one INSERT."""
    for command in commands:
        if not isinstance(command, Command):
            raise InvalidMessage(f"send_all is for commands; {type(command).__qualname__} changes nothing: bus.send")
    names = {bus.alias(command): type(command).__qualname__ for command in commands}
    if len(names) > 1:
        where = ", ".join(f"{name} on {alias!r}" for alias, name in names.items())
        raise InvalidMessage(f"send_all has one transaction, and these have theirs on several databases: {where}")
    for alias in names:
        with transaction.atomic(using=alias), units.joined(connections[alias]):
            return [bus.send(command) for command in commands]
    return []
