"""Whom an event reaches that has a due time, or that expires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simplecqrs.errors import NotPublished
from simplecqrs.handlers import describe
from simplecqrs.messages import Event
from simplecqrs.registration import Registration
from simplecqrs.timing import Timed

__all__ = ["refuse_unkept"]


def refuse_unkept(timed: Timed, here: Sequence[Registration], *, outward: bool, delays: bool) -> None:
    """
    Raise NotPublished where the times of an event could not be kept.

    Handlers of everything, as of all domain events, are no hindrance: they are told when it is published.

    Args:
        here: the handlers that run where it is published.
        outward: whether it reaches anybody else.
        delays: whether there is an outbox that keeps it until it is due.
    """
    name = type(timed.event).__qualname__
    if not outward:
        raise NotPublished(
            f"{name} reaches only handlers that run where it is published, so it can neither wait nor expire; register "
            "them with consumer=..."
        )
    if timed.due is None:
        return
    if not delays:
        raise NotPublished(
            f"{name} is due later, and this mediator has no outbox that keeps it until then; publish it with Django's"
        )
    own = [describe(r.handler) for r in here if any(not _is_ours(message) for message in r.messages)]
    if own:
        raise NotPublished(
            f"{name} is due later, but {', '.join(own)} handles it where it is published; register it with "
            "consumer=..., and it is told when it is due"
        )


def _is_ours(message: type[Any]) -> bool:
    """Tell whether a class is one of the bases that we bring."""
    return message.__module__ == Event.__module__
