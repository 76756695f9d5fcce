"""What is dispatched, against a reference model: commands in commands, events, follow-ups, failures, streams."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Literal

import pytest
from attrs import frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from simplecqrs import Command, DomainEvent, Mediator, NotificationEvent, Publish, Registry, Stream, SyncEventHandler
from simplecqrs.dispatch import Dispatch, stack
from simplecqrs.envelope import Envelope
from simplecqrs.errors import HandlersFailed
from simplecqrs.events import Events
from simplecqrs.levels import Levels
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.streams import by_item
from simplecqrs.transactions import hand_up
from simplecqrs.transport import ACCEPTED, Receipt
from simplecqrs.unit import OwnUnit
from simplecqrs.workers import Workers
from tests.simplecqrs.model import Event, Failed, Model, Step

#: Who handles an event of each class, in the order in which they were registered; in Mediators, and in the model.
HANDLERS = {
    "happened": ("everything", "first", "both", "last"),
    "special": ("everything", "first", "both", "special", "last"),
    "told": ("told",),
}
LATER = {"happened": ("late",), "special": ("late",), "told": ()}


@frozen
class Do(Command[None]):
    """Does what its steps say."""

    id: str


@frozen
class Feed(Stream[int]):
    """Does what its steps say before each item, and after the last one."""

    id: str


@frozen
class Happened(DomainEvent):
    """Has several handlers, one of them after the commit."""

    id: str


@frozen
class Special(Happened):
    """Has those of its base as well."""


@frozen
class Told(NotificationEvent):
    """Has a handler here, and goes out."""

    id: str


CLASSES: dict[str, type[Any]] = {"happened": Happened, "special": Special, "told": Told}


class Boom(Exception):
    """What a handler raises."""


# What is drawn: steps, in tuples; an event with the steps of some of its handlers

_leaves = st.sampled_from([("write",), ("write",), ("raise",)]) | st.tuples(
    st.just("publish"), st.sampled_from(sorted(HANDLERS)), st.just({})
)


def _within(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    steps = st.lists(inner, max_size=3)
    publishes = [
        st.tuples(
            st.just("publish"), st.just(kind), st.dictionaries(st.sampled_from([*who, *LATER[kind]]), steps, max_size=2)
        )
        for kind, who in HANDLERS.items()
    ]
    return st.one_of(*publishes, st.tuples(st.sampled_from(["send", "try"]), steps))


a_step = st.recursive(_leaves, _within, max_leaves=12)
some_steps = st.lists(a_step, max_size=4)
some_plans = st.dictionaries(st.sampled_from(["first", "last", "late", "told"]), some_steps, max_size=3)


def as_steps(who: str, drawn: Sequence[Any], ids: Iterator[int]) -> list[Step]:
    """Make steps of what was drawn, with an id for each event."""
    return [as_step(f"{who}.{number}", step, ids) for number, step in enumerate(drawn)]


def as_step(key: str, drawn: Any, ids: Iterator[int]) -> Step:
    """Make a step."""
    match drawn:
        case ("publish", kind, plans):
            return Step("publish", as_event(kind, plans, ids))
        case (("send" | "try") as verb, steps):
            return Step(verb, as_steps(f"{key}:do", steps, ids))
        case (verb,):
            return Step(verb)


def as_event(kind: str, plans: dict[str, Any], ids: Iterator[int]) -> Event:
    """Make an event of what was drawn."""
    name = f"{kind}{next(ids)}"
    handlers, later = (
        {f"{name}:{who}": as_steps(f"{name}:{who}", plans.get(who, ()), ids) for who in names[kind]}
        for names in (HANDLERS, LATER)
    )
    return Event(name, handlers, later, outward=kind == "told")


@frozen
class Mode:
    """How a mediator is told to work."""

    errors: Literal["raise", "collect", "log"] = "raise"
    workers: int = 1
    transactional: bool = False
    surrounded: bool = False


class World:
    """Mediator, publisher and rows, with handlers that do what their steps say."""

    def __init__(self, mode: Mode) -> None:
        self.log: list[str] = []
        self.rows: dict[str, bool] = {}
        self.shipped: list[list[str]] = []
        self.steps: dict[str, Sequence[Step]] = {}
        self.memory = MemoryTransactions()
        self.bus = Mediator(
            self._registry(),
            publisher=self,
            event_workers=mode.workers,
            event_errors=mode.errors,
            transaction=(lambda message: self.memory.transaction()) if mode.transactional else None,
            middlewares=[lambda message, call_next: call_next(message)] if mode.surrounded else [],
            provide={int: int} if mode.surrounded else None,
        )

    def _registry(self) -> Registry:
        registry, world = Registry(), self

        class Last(SyncEventHandler[Happened]):
            def handle(self, event: Happened) -> None:
                world.perform(f"{event.id}:last", self.publish)

        def of_event(who: str) -> Callable[..., None]:
            return lambda event, publish: self.perform(f"{event.id}:{who}", publish)

        registry.add(Do, lambda command, publish: self.perform(command.id, publish))
        registry.handles(Feed, transaction="item")(self.feed)
        registry.add(DomainEvent, of_event("everything"))
        registry.add(Happened, of_event("first"))
        registry.add(Happened, of_event("late"), after_commit=True)
        registry.handles(Happened, Special)(of_event("both"))
        registry.add(Special, of_event("special"))
        registry.add(Told, of_event("told"))
        registry.add(Happened, Last)
        return registry

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Take what goes out."""
        self.shipped.append([self.bus.vocabulary.decode(envelope).id for envelope in envelopes])
        return [ACCEPTED] * len(envelopes)

    def feed(self, stream: Feed, publish: Publish) -> Iterator[int]:
        """Do what is to be done before each item."""
        for number in count():
            self.perform(f"{stream.id}:{number}", publish)
            if f"{stream.id}:{number + 1}" not in self.steps:
                return
            yield number

    def perform(self, who: str, publish: Publish) -> None:
        """Do what a handler is to do."""
        self.log.append(who)
        for number, step in enumerate(self.steps[who]):
            key = f"{who}.{number}"
            self.log.append(key)
            match step.verb:
                case "raise":
                    raise Boom(key)
                case "write":
                    self.memory.put(self.rows, key, True)
                case "publish":
                    publish(self.event(step.what))
                case "send":
                    self.send(f"{key}:do", step.what)
                case "try":
                    with suppress(Boom, HandlersFailed):
                        self.send(f"{key}:do", step.what)

    def send(self, who: str, steps: Sequence[Step]) -> None:
        """Send a command that has these steps."""
        self.steps[who] = steps
        self.bus.send(Do(who))

    def publish_outside(self, event: Event) -> None:
        """Publish an event outside of any handler."""
        self.bus.publish(self.event(event))

    def event(self, event: Event) -> Any:
        """Return an event that is handled by its steps."""
        self.steps.update(event.handlers)
        self.steps.update(event.later)
        return CLASSES[event.id.rstrip("0123456789")](event.id)


def failure_of(call: Callable[[], object]) -> object:
    """Return what a call has raised, as plain data; None: nothing."""
    try:
        call()
    except (Boom, Failed, HandlersFailed) as error:
        return plain(error)
    return None


def plain(error: BaseException) -> object:
    """Return the key of the step that failed, or those of several."""
    if isinstance(error, HandlersFailed):
        return [plain(failure.error) for failure in error.failures]
    if isinstance(error, Failed) and isinstance(error.args[0], Failed):
        return [plain(failure) for failure in error.args]
    return error.args[0]


MODES = {
    "one after the other": Mode(),
    "with all that can be around": Mode(surrounded=True),
    "in transactions": Mode(transactional=True),
    "collecting failures": Mode("collect"),
    "logging failures": Mode("log"),
    "in threads, collecting": Mode("collect", workers=3),
    "in threads, logging": Mode("log", workers=3),
}


class Side:
    """A mediator, and the model that it is to follow."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.model = Model(errors=mode.errors, rolls_back=mode.transactional)
        self.world = World(mode)
        self.streams: dict[str, Generator[int, None, None]] = {}

    def compare(self, expected: Callable[[], object], real: Callable[[], object]) -> bool:
        """Do it in the model and in the mediator, compare all that can be seen, and tell whether it failed."""
        del self.model.log[:], self.world.log[:], self.model.shipped[:], self.world.shipped[:]
        wanted, got = failure_of(expected), failure_of(real)
        assert got == wanted
        assert self.world.rows.keys() == self.model.rows
        paths = dict(self.model.log)
        ran, ought = chunks(self.world.log), chunks(list(paths))
        assert ran.keys() == ought.keys()
        for name, chunk in ran.items():
            assert is_right(chunk, ought[name], paths if self.mode.workers > 1 else {}), (chunk, ought[name])
        assert self.batches(self.world) == self.batches(self.model)
        assert not stack.frames
        return got is not None

    def batches(self, side: World | Model) -> list[list[str]]:
        """Return what went out: each outermost message ships once, in the order of publication."""
        return sorted(map(sorted, side.shipped) if self.mode.workers > 1 else side.shipped)


def chunks(log: Sequence[str]) -> dict[str, list[str]]:
    """Split a log: each after-commit handler is a message of its own, and no order among these is promised."""
    found: dict[str, list[str]] = {"": []}
    chunk = found[""]
    for entry in log:
        if entry.endswith(":late"):
            chunk = found[entry] = []
        chunk.append(entry)
    return found


def is_right(ran: list[str], ought: list[str], paths: dict[str, tuple[Any, ...]]) -> bool:
    """Tell whether what has run is what ought to; with paths, handlers of one level may have overlapped."""
    if not paths:
        return ran == ought
    pairs = itertools.combinations((paths[key] for key in ran if key in paths), 2)
    return sorted(ran) == sorted(ought) and all(may_follow(*pair) for pair in pairs)


def may_follow(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    """Tell whether an entry of the log may come after another one, by their paths."""
    for one, other in zip(before, after, strict=False):
        if one != other:
            return isinstance(one, str) or bool(one < other)
    return len(before) <= len(after)


class Machine(RuleBasedStateMachine):
    """Messages sent one after the other, while streams are open, to mediators of every mode."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = count()
        self.sides = [Side(mode) for mode in MODES.values()]
        self.streams: dict[str, dict[str, list[Step]]] = {}

    @rule(drawn=some_steps)
    def send(self, drawn: Any) -> None:
        """Send a command."""
        who = f"do{next(self.ids)}"
        steps = as_steps(who, drawn, self.ids)
        for side in self.sides:
            side.compare(partial(side.model.handle, who, steps), partial(side.world.send, who, steps))

    @rule(kind=st.sampled_from(sorted(HANDLERS)), plans=some_plans)
    def publish(self, kind: str, plans: Any) -> None:
        """Publish an event outside of any handler."""
        event = as_event(kind, plans, self.ids)
        for side in self.sides:
            side.compare(partial(side.model.publish, event), partial(side.world.publish_outside, event))

    @rule(drawn=st.lists(some_steps, min_size=1, max_size=3))
    def open(self, drawn: Any) -> None:
        """Open a stream; nothing runs yet."""
        who = f"feed{next(self.ids)}"
        names = [f"{who}:{number}" for number in range(len(drawn))]
        parts = {name: as_steps(name, steps, self.ids) for name, steps in zip(names, drawn, strict=True)}
        self.streams[who] = parts
        for side in self.sides:
            side.world.steps.update(parts)
            side.streams[who] = side.world.bus.stream(Feed(who))

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        """Take the next item of a stream: it is a unit of work of its own."""
        who = data.draw(st.sampled_from(sorted(self.streams)))
        name, *more = self.streams[who]
        steps = self.streams[who].pop(name)
        for side in self.sides:
            failed = side.compare(partial(side.model.handle, name, steps), partial(next, side.streams[who], None))
            if failed or not more:
                assert next(side.streams.pop(who), None) is None
        self.streams = {who: parts for who, parts in self.streams.items() if who in self.sides[0].streams}

    @precondition(lambda self: self.streams)
    @rule()
    def close(self) -> None:
        """Close a stream early: no more of it runs."""
        who, _ = self.streams.popitem()
        for side in self.sides:
            side.compare(lambda: None, side.streams.pop(who).close)


SETTINGS = settings(
    max_examples=20,
    stateful_step_count=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # a failure is small enough, and to make it smaller would take minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.fixture(autouse=True)
def _quiet() -> Generator[None, None, None]:
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_the_mediator_does_what_the_model_does() -> None:
    """In whatever order messages are sent, published and streamed, and whatever fails."""
    run_state_machine_as_test(Machine, settings=SETTINGS)


# The model finds what is wrong: faults, planted one at a time


def depth_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handle what an event has caused before its siblings."""

    def handle_all(self: Events, root: Dispatch) -> None:
        root.working, queue = False, root.take()
        while queue:
            published = queue.pop(0)
            published.root, caused = root, []
            for call in published.plan.now:
                root.frames.append(published)
                try:
                    call(published.event)
                finally:
                    frame = root.frames.pop()
                caused += [] if frame is published else frame.take()
            queue = caused + queue
            if published.plan.later:
                self._remember(root, published)

    monkeypatch.setattr(Events, "_one_after_the_other", handle_all)


def kept_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what a failed nested command has published."""
    discard = Dispatch.discard

    def keep(self: Dispatch) -> None:
        unit, parent = self.opened_unit, self.parent
        discard(self)
        if isinstance(unit, OwnUnit) and parent is not None:
            hand_up(unit, parent)

    monkeypatch.setattr(Dispatch, "discard", keep)


def shipped_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a nested command ship its events itself."""
    monkeypatch.setattr("simplecqrs.transactions._outer", lambda dispatch: None)


def in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call the handlers of an event in another order than that of registration."""
    subscribed = Events._subscribed
    monkeypatch.setattr(Events, "_subscribed", lambda self, kind: subscribed(self, kind)[::-1])


def stopped_at_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out siblings of a handler that failed, where failures are collected."""
    run = Workers.run
    monkeypatch.setattr(Workers, "run", lambda self, calls, *, stop: run(self, calls, stop=True))


def levels_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handle what an event has caused before the next event of its level."""
    handle = Levels._handle

    def mixed(self: Levels, root: Dispatch, level: list[Any], failures: list[Any]) -> list[Any]:
        for published in level:
            self_level = handle(self, root, [published], failures)
            while self_level:
                for caused in self_level:
                    caused.root = root
                self_level = handle(self, root, self_level, failures)
        return []

    monkeypatch.setattr(Levels, "_handle", mixed)


def later_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run after-commit handlers before the commit."""
    monkeypatch.setattr(Events, "_remember", lambda self, root, published: self._handle_later(published))


def items_without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what was published for an item of a stream."""
    monkeypatch.setattr(
        "simplecqrs.wiring.by_item",
        lambda call, units, finish, before: by_item(call, units, lambda dispatch: None, before),
    )


FAULTS = [
    depth_first,
    kept_events,
    shipped_early,
    in_another_order,
    stopped_at_a_failure,
    levels_mixed,
    later_at_once,
    items_without_events,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found(monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]) -> None:
    """By what it changes."""
    fault(monkeypatch)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Machine, settings=SETTINGS)
