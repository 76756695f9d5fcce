"""Events: who handles them, in what order, and what they cause."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from simplecqrs.ambient import fresh_stack
from simplecqrs.dispatch import Dispatch, Frame, stack, top
from simplecqrs.errors import InvalidMessage, NotPublished
from simplecqrs.generations import endless
from simplecqrs.messages import DomainEvent, Event, IntegrationEvent, Message
from simplecqrs.metadata import Metadata, active_context
from simplecqrs.pipeline import Call
from simplecqrs.plans import EventPlan
from simplecqrs.registration import Registration
from simplecqrs.transactions import Finish, Units
from simplecqrs.unit import Published, new_published

if TYPE_CHECKING:
    import logging

    from simplecqrs.levels import EventErrors
    from simplecqrs.timing import Timed
    from simplecqrs.workers import Workers

__all__ = ["Events"]


class Events:
    """
    Handles events, those of a dispatch and those that are messages of their own.

    Args:
        calls: each registration of an event handler, with its composed call.
        scope: opens the scope of a dispatch's dependencies.
        ships: whether there is a publisher.
        delays: whether what goes out may wait until it is due.
        max_generations: how long events may go on causing events.
        workers: run handlers side by side, where no transaction is open.
        errors: what becomes of failures, where no transaction is open.

    Attributes:
        bus: the mediator that all this was compiled for; handlers of our own ask for it.
    """

    bus: Any = None

    def __init__(
        self,
        calls: Sequence[tuple[Registration, Call]],
        units: Units,
        scope: Callable[[Dispatch], AbstractContextManager[None]],
        *,
        ships: bool,
        delays: bool = False,
        max_generations: int,
        workers: Workers | None = None,
        errors: EventErrors = "raise",
    ) -> None:
        self._calls = calls
        self._units = units
        self._scope = scope
        self._ships = ships
        self._delays = delays
        self._max_generations = max_generations
        self._workers = workers
        #: Handles what was published in a dispatch, and what that causes.
        self.handle_all: Finish = self._one_after_the_other
        if units.transaction is None and (workers is not None or errors != "raise"):
            self.handle_all = self._by_levels(errors)
        self.plans: dict[type[Any], EventPlan] = {}
        self._consumer_calls: dict[tuple[type[Message], str], list[tuple[Registration, Call]]] = {}

    def plan_for(self, event: Event, /) -> EventPlan:
        """
        Return what is to be done with an event.

        Raises:
            InvalidMessage: if it is no event.
            NotPublished: if it is to go out, and there is no publisher, or none that can wait.
        """
        plan = self.plans.get(type(event))
        if plan is None:
            if not isinstance(event, (DomainEvent, IntegrationEvent)):  # pyright: ignore[reportUnnecessaryIsInstance]
                from simplecqrs.timing import Timed  # which few need

                if isinstance(event, Timed):
                    return self._plan_timed(event)
            plan = self.plans[type(event)] = self._plan(type(event))
        return plan

    def _plan_timed(self, timed: Timed) -> EventPlan:
        from simplecqrs.delays import refuse_unkept

        plan = self.plan_for(timed.event)
        here = [r for r, _ in self._subscribed(type(timed.event)) if r.options.consumer is None]
        refuse_unkept(timed, here, outward=plan.outward, delays=self._delays)
        return EventPlan(self, plan.now, plan.later, outward=True, handlers=plan.handlers, times=timed)

    def _plan(self, kind: type[Any]) -> EventPlan:
        if not issubclass(kind, Event):
            raise InvalidMessage(
                f"{kind.__qualname__} is no event and cannot be published; requests are sent: bus.send"
            )
        if not issubclass(kind, (DomainEvent, IntegrationEvent)):
            raise InvalidMessage(
                f"{kind.__qualname__} does not say who may know of it; derive it from DomainEvent (this project alone) "
                "or NotificationEvent"
            )
        own = self._subscribed(kind)
        here = [(r, call) for r, call in own if r.options.consumer is None]
        outward = issubclass(kind, IntegrationEvent) or len(here) < len(own)
        if outward and not self._ships:
            raise NotPublished(
                f"{kind.__qualname__} is to leave this process, but the mediator has no publisher; give it one, "
                "Mediator(publisher=...), or derive the event from DomainEvent and handle it here"
            )
        if not own and not outward:
            _log().debug("%s has no handler", kind.__qualname__, extra={"cqrs_message": kind.__name__})
        now = [(r.handler, call) for r, call in here if not r.options.after_commit]
        later = [call for r, call in here if r.options.after_commit]
        handlers = [handler for handler, _ in now]
        return EventPlan(self, [call for _, call in now], later, outward=outward, handlers=handlers)

    def consumer_calls(self, kind: type[Message], consumer: str) -> list[tuple[Registration, Call]]:
        """Return the handlers by which a consumer handles an event, in their order; asked for with each message."""
        found = self._consumer_calls.get((kind, consumer))
        if found is None:
            found = [(r, call) for r, call in self._subscribed(kind) if r.options.consumer == consumer]
            self._consumer_calls[kind, consumer] = found
        return found

    def _subscribed(self, kind: type[Message]) -> list[tuple[Registration, Call]]:
        """Return who wants events of a type; a handler that asked for it and for its base as well has it once."""
        found: dict[Any, tuple[Registration, Call]] = {}
        for registration, call in self._calls:
            if issubclass(kind, registration.messages):
                options = registration.options
                who = (id(registration.handler), options.consumer, options.after_commit)
                found.setdefault(who, (registration, call))
        return list(found.values())

    def _by_levels(self, errors: EventErrors) -> Finish:
        """Handle events level by level, as few mediators do: they pay for the import."""
        from simplecqrs.levels import Levels
        from simplecqrs.workers import Workers

        workers = self._workers or Workers(1, nullcontext)
        limit = self._max_generations
        return Levels(workers, self._remember, self._scope, errors=errors, max_generations=limit).handle_all

    def _one_after_the_other(self, root: Dispatch) -> None:
        """Handle events first in, first out: breadth first, without threads, and the first failure is raised."""
        root.working = False
        frames, queue = root.frames, root.take()
        for published in queue:  # which grows meanwhile
            cause = published.cause
            if cause is not None and cause.generation >= self._max_generations:
                raise endless(published, self._max_generations)
            published.root = root
            plan = published.plan
            for call in plan.now:
                frames.append(published)
                try:
                    call(published.event)
                finally:
                    frame = frames.pop()
                if frame is not published:
                    frame.working = False
                    queue += frame.take()
            if plan.later:
                self._remember(root, published)

    def _remember(self, root: Dispatch, published: Published) -> None:
        """See to it that an event's after-commit handlers run after the commit."""
        root.unit.after_commit(partial(self._handle_later, published))

    def publish(self, event: Event) -> None:
        """Publish an event that no handler publishes: handle it, and ship it, as a message of its own."""
        cause = top(stack.frames) if stack.frames else None
        plan = self.plan_for(event)
        event = plan.times.event if plan.times is not None else event
        published = new_published(event, plan, cause, active_context())
        with self._own_dispatch(published) as dispatch:
            dispatch.unit.collect(published)
            dispatch.published = [published]
            self.handle_all(dispatch)

    def receive(self, event: Event, metadata: Metadata, calls: Sequence[Call]) -> None:
        """Handle an event that came from elsewhere, so that it is not to be shipped again."""
        plan = EventPlan(self, [], [], outward=False)
        self.deliver(Published.received(event, plan, metadata), calls)

    def deliver(self, published: Published, calls: Sequence[Call]) -> None:
        """Handle an event by these handlers, as a message of its own, together in one unit of work."""
        published.root = None
        with self._own_dispatch(published) as dispatch:
            published.root = dispatch
            frames = dispatch.frames
            dispatch.published = [caused for call in calls for caused in _handle(call, published, frames)]
            self.handle_all(dispatch)

    @contextmanager
    def _own_dispatch(self, published: Published) -> Generator[Dispatch, None, None]:
        frames = stack.frames
        dispatch = Dispatch.of_event(published, top(frames) if frames else None)
        frames.append(dispatch)
        try:
            with self._scope(dispatch), self._units.open(dispatch):
                yield dispatch
        finally:
            frames.pop()

    def _handle_later(self, published: Published) -> None:
        """Run the after-commit handlers of an event, each as a message of its own, failures apart."""
        calls = [partial(self._deliver_apart, published, call) for call in published.plan.later]
        if self._workers is not None:
            _ = published.metadata  # made once, before threads ask for it
            self._workers.run(calls, stop=False)
            return
        for call in calls:
            call()

    def _deliver_apart(self, published: Published, call: Call) -> None:
        try:
            with fresh_stack():
                self.deliver(published.again(), [call])
        except Exception:  # noqa: BLE001 - it is logged, and must not stop the others
            from simplecqrs.log_context import about_published

            extra = about_published(published)
            _log().exception("an after-commit handler of %s failed", type(published.event).__qualname__, extra=extra)


def _handle(call: Call, published: Published, frames: list[Frame]) -> Iterable[Published]:
    """Call one handler with an event and return what that has published."""
    frames.append(published)
    try:
        call(published.event)
    finally:
        frame = frames.pop()
        if frame is not published:
            frame.working = False
    return () if frame is published else frame.take()


def _log() -> logging.Logger:
    """Return our logger; imported late, since ``logging`` is a quarter of what importing us would cost."""
    from logging import getLogger

    return getLogger("simplecqrs")
