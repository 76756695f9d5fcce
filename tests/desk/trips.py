"""A trip that is booked step by step: sagas for tests, whose steps note what they do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from attrs import evolve, frozen
from django.db.models import F

from django_cqrs.loops import run
from django_cqrs.models import Blocked, SagaWait, Scheduled
from django_cqrs.models import Saga as Stored
from django_cqrs.promotion import promoters
from simplecqrs import IntegrationEvent
from simplecqrs.registry import Registry
from simplecqrs.saga import Saga, Step, current_step, wait_for
from tests.desk.models import Note

__all__ = ["PaymentCame", "Trip", "doing", "hurry", "keys", "noted", "paid", "trip_saga", "undoing"]


@frozen
class Trip:
    """The state."""

    who: str = "ann"
    done: tuple[str, ...] = ()


@frozen
class PaymentCame(IntegrationEvent, name="desk.PaymentCame"):
    """What a step waits for."""

    who: str


def doing(name: str, work: Callable[[Trip], Any] = lambda _: None) -> Callable[[Trip], Trip]:
    """Return a step's act, which writes a note, then does some work."""

    def act(state: Trip) -> Trip:
        Note.objects.create(text=f"{name} {state.who}")
        work(state)
        return evolve(state, done=(*state.done, name))

    return act


def undoing(name: str, work: Callable[[Trip], Any] = lambda _: None) -> Callable[[Trip], None]:
    """Return what undoes it."""

    def compensate(state: Trip) -> None:
        Note.objects.create(text=f"no {name} {state.who}")
        work(state)

    return compensate


def noted() -> list[str]:
    """Return what the steps have written, in its order."""
    return list(Note.objects.order_by("id").values_list("text", flat=True))


def trip_saga(registry: Registry, *names: str, **options: Any) -> Saga[Trip]:
    """Return a saga of steps of these names, each of which can be undone; options are steps in their place."""
    steps = [options.get(name) or Step(name, doing(name), undoing(name)) for name in names]
    return Saga("trip", Trip, steps, registry=registry)


def paid(**options: Any) -> Step[Trip]:
    """Return a step that waits for its payment."""
    return Step("paid", wait_for(PaymentCame, key="who", **options), undoing("paid"))


def keys(seen: list[str]) -> Callable[[Trip], None]:
    """Return work that remembers the keys that it was called with."""
    return lambda _: seen.append(current_step().key)


def hurry() -> None:
    """Let all be due that is due later."""
    Scheduled.objects.update(due=F("due") - timedelta(days=1))
    Stored.objects.update(due_at=F("due_at") - timedelta(days=1))
    SagaWait.objects.update(ends=F("ends") - timedelta(days=1))
    Blocked.objects.update(next_at=F("next_at") - timedelta(days=1))
    run(promoters(), drain=True)
