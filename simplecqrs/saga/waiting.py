"""Steps that wait: events handed in, before or after somebody waits for them, and times that are over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from simplecqrs.dispatch import stack, top
from simplecqrs.errors import InvalidSaga
from simplecqrs.handlers import Bind, Combined, Trial
from simplecqrs.messages import Event
from simplecqrs.queue import SAGAS
from simplecqrs.saga.adopting import sagas_of
from simplecqrs.saga.amending import change_stored
from simplecqrs.saga.machine import succeeded, wait_failed
from simplecqrs.saga.records import Record, Run
from simplecqrs.saga.states import fresh

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator
    from simplecqrs.saga.definition import Saga
    from simplecqrs.saga.performing import Store
    from simplecqrs.saga.step import Step, WaitFor

__all__ = ["CONSUMER", "HandIn", "deliver", "hand_in", "take_early"]

#: The consumer that hands events in to sagas, and runs those that were started.
CONSUMER: Final = SAGAS


class HandIn(Combined[Any, None]):
    """The handler of an event that a step waits for."""

    links = ()
    handed_in = True

    def __init__(self, saga: Saga[Any], step: Step[Any]) -> None:
        self.saga = saga
        self.step = step

    def build(self, bind: Bind, _: Trial, /, *, is_stream: bool) -> Callable[[Any], None]:
        """Return a call that hands the event in, to the sagas of the mediator that handles it."""

        def run(event: Event) -> None:
            hand_in_to(_bus(), self.saga, self.step, event)

        return run


def hand_in(bus: Mediator, event: Event) -> list[UUID]:
    """
    Hand an event in to the sagas that wait for it, and return their ids; they go on when somebody runs them.

    With a consumer this happens by itself.  What comes before anybody waits for it is kept.
    """
    return [
        saga_id
        for saga in sagas_of(bus).values()
        for step in saga.by_name.values()
        if step.waits is not None and isinstance(event, step.waits.event)
        for saga_id in hand_in_to(bus, saga, step, event)
    ]


def hand_in_to(bus: Mediator, saga: Saga[Any], step: Step[Any], event: Event) -> list[UUID]:
    """Hand an event in to those that wait for it in this step."""
    waits = _waits(step)
    payload = bus.vocabulary.codec(type(event)).encode(event)
    found = bus.sagas.hand_in(saga.place_of(step), str(getattr(event, waits.key)), payload)
    for saga_id in found:
        deliver(bus, saga, saga_id, step, event)
    return list(found)


def deliver(bus: Mediator, saga: Saga[Any], saga_id: UUID, step: Step[Any], event: Event) -> None:
    """Give an event to one saga; one that does not wait for it any more is left alone."""

    def take(record: Record) -> list[Run] | None:
        known = record.progress.get(step.name)
        if known is None or known.phase != "waiting":
            return None
        return _taken(bus, saga, record, step, event)

    change_stored(bus, saga, saga_id, take)


def take_early(bus: Mediator, saga: Saga[Any], record: Record, store: Store) -> list[Run]:
    """Take what came before a step waited for it; a saga that waits, and is held by nobody, is changed by this."""
    for name in list(record.progress):
        if record.status != "WAITING" or record.progress[name].phase != "waiting":
            continue
        step = saga.by_name[name]
        waits = _waits(step)
        payload = bus.sagas.arrived(record.id, name)
        if payload is not None:
            event = bus.vocabulary.codec(waits.event).decode(waits.event, payload)
            runs = _taken(bus, saga, record, step, event)
            store(record, runs)
            return runs or take_early(bus, saga, record, store)
    return []


def _taken(bus: Mediator, saga: Saga[Any], record: Record, step: Step[Any], event: Event) -> list[Run]:
    """Go on with what an event brings; if it cannot be taken, the step has failed: it would never be otherwise."""
    then = _waits(step).then
    if then is None:
        return succeeded(saga, record, step, None)
    try:
        given = record.state if saga.is_frozen else fresh(record.state, bus.sagas.codec)
        returned = then(given, event)
        if returned is not None and not isinstance(returned, saga.state):
            raise InvalidSaga(
                f"then= of the step {step.name!r} of the saga {saga.name!r} returned {returned!r}; it is to return a "
                f"{saga.state.__qualname__}, the new state, or None"
            )
    except Exception as error:  # noqa: BLE001 - it is the step's, and is stored
        return wait_failed(saga, record, step, error)
    return succeeded(saga, record, step, given if returned is None and not saga.is_frozen else returned)


def _bus() -> Mediator:
    """Return the mediator that handles what is being handled in this thread."""
    wiring: Any = top(stack.frames).wiring
    return wiring.bus  # type: ignore[no-any-return]


def _waits(step: Step[Any]) -> WaitFor[Any, Any]:
    if step.waits is None:
        raise TypeError(f"{step!r} waits for nothing")
    return step.waits
