"""Units of work: what they keep, what goes with them when they fail, and when events leave."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from attrs import Factory, define, frozen

from simplecqrs import Command, DomainEvent, Envelope, Mediator, Message, NotificationEvent, Publish, Query, Registry
from simplecqrs.errors import NotPublished
from simplecqrs.handlers import Bind, Combined, Trial
from simplecqrs.transport import ACCEPTED, UNKNOWN, Receipt, refused
from simplecqrs.unit import Published


@frozen
class Do(Command[Any]):
    """Do what the test says."""

    what: str = ""


@frozen
class DoInside(Command[Any]):
    """Is sent by a handler of Do."""

    what: str = ""


@frozen
class Ask(Query[Any]):
    """A query."""


@frozen
class Placed(NotificationEvent):
    """Is of interest to others."""

    what: str = ""


@frozen
class Noted(DomainEvent):
    """Is of interest here."""

    what: str = ""


class Failure(Exception):
    """What a handler raises."""


@define
class Recorder:
    """A publisher that takes down each call."""

    calls: list[list[str]] = Factory(list)
    answer: Receipt = ACCEPTED
    log: list[str] = Factory(list)

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Take down what was published."""
        self.calls.append([envelope.payload.decode() for envelope in envelopes])
        self.log.append("publish")
        return [self.answer] * len(envelopes)

    @property
    def said(self) -> list[list[str]]:
        """Return what the events said, call by call."""
        return [[payload.removeprefix('{"what":"').removesuffix('"}') for payload in call] for call in self.calls]


@define
class Ledger:
    """Transactions that take down what becomes of them, savepoints included."""

    log: list[str] = Factory(list)
    depth: int = 0
    failing: bool = False

    @contextmanager
    def __call__(self, message: Message) -> Generator[None, None, None]:
        """Open a transaction, or a savepoint in it."""
        name = f"{type(message).__name__} {self.depth}"
        self.log.append(f"begin {name}")
        self.depth += 1
        try:
            yield
            if self.failing and self.depth == 1:
                raise Failure("commit")
        except BaseException:
            self.log.append(f"rollback {name}")
            raise
        finally:
            self.depth -= 1
        self.log.append(f"commit {name}")


class SavepointUnit:
    """A unit of work whose events know their savepoint, as Django's do."""

    def __init__(self) -> None:
        self.events: list[tuple[Published, tuple[object, ...]]] = []
        self.savepoints: tuple[object, ...] = ()
        self.after: list[Callable[[], None]] = []

    def collect(self, published: Published, /) -> None:
        """Bind an event to the savepoints that are open now."""
        self.events.append((published, self.savepoints))

    def kept(self, published: list[Published], /) -> list[Published]:
        """Return those whose savepoints were not rolled back."""
        alive = {id(p) for p, _ in self.events}
        return [p for p in published if id(p) in alive]

    def after_commit(self, call: Callable[[], None], /) -> None:
        """Keep it for the end."""
        self.after.append(call)

    @contextmanager
    def atomic(self) -> Generator[None, None, None]:
        """Open a savepoint; its events go with it."""
        mine = object()
        self.savepoints += (mine,)
        try:
            yield
        except BaseException:
            self.events = [(p, savepoints) for p, savepoints in self.events if mine not in savepoints]
            raise
        finally:
            self.savepoints = self.savepoints[:-1]


@define
class SavepointTransactions:
    """Transactions that bring a unit of their own."""

    unit: SavepointUnit | None = None
    stored: list[list[str]] = Factory(list)

    @contextmanager
    def __call__(self, message: Message) -> Generator[SavepointUnit, None, None]:
        """Open a transaction, or a savepoint in it."""
        if self.unit is not None:
            with self.unit.atomic():
                yield self.unit
            return
        self.unit = unit = SavepointUnit()
        try:
            yield unit
            outward = [p.event for p, _ in unit.events if p.plan.outward]
            self.stored += [[event.what for event in outward]] if outward else []  # type: ignore[attr-defined]
        finally:
            self.unit = None
        for call in unit.after:
            call()


def publishing(*events: Any, fail: bool = False) -> Callable[[Any, Publish], None]:
    """Return a handler that publishes these events."""

    def handler(message: Any, publish: Publish) -> None:
        for event in events:
            publish(event)
        if fail:
            raise Failure

    return handler


#: All kinds of units of work have to behave alike.
TRANSACTIONS: dict[str, Callable[[], Any]] = {"none": lambda: None, "plain": Ledger, "own unit": SavepointTransactions}


@pytest.fixture(params=TRANSACTIONS, ids=str)
def shipped(request: pytest.FixtureRequest) -> tuple[Callable[..., Mediator], Callable[[], list[list[str]]]]:
    """Give a maker of mediators, and what they shipped in the end, whatever keeps the events until then."""
    publisher = Recorder()
    transaction = TRANSACTIONS[request.param]()

    def make(registry: Registry, **options: Any) -> Mediator:
        return Mediator(registry, publisher=publisher, transaction=transaction, **options)

    def said() -> list[list[str]]:
        return transaction.stored if isinstance(transaction, SavepointTransactions) else publisher.said

    return make, said


Shipped = tuple[Callable[..., Mediator], Callable[[], list[list[str]]]]


# One call, in order, of what was not rolled back


def test_one_publish_call_takes_everything_in_the_order_in_which_it_was_published(shipped: Shipped) -> None:
    """Handler, nested sends, and handlers of events: the outermost unit ships it all at its end."""
    make, said = shipped
    registry = Registry()
    bus = make(registry)

    @registry.handles(Do)
    def outer(command: Do, publish: Publish) -> None:
        publish(Placed("1"))
        bus.send(DoInside("2"))
        publish(Noted("4"))
        publish(Placed("3"))
        assert said() == []

    registry.add(DoInside, lambda command, publish: publish(Placed(command.what)))
    registry.add(Noted, lambda event, publish: publish(Placed(event.what)))

    bus.send(Do())

    assert said() == [["1", "2", "3", "4"]]


def test_each_outermost_send_ships_by_itself(shipped: Shipped) -> None:
    """Two sends, two calls."""
    make, said = shipped
    registry = Registry()
    registry.add(Do, lambda command, publish: publish(Placed(command.what)))
    bus = make(registry)

    bus.send(Do("1"))
    bus.send(Do("2"))

    assert said() == [["1"], ["2"]]


def test_a_failed_command_ships_nothing(shipped: Shipped) -> None:
    """Its events share its fate."""
    make, said = shipped
    registry = Registry()
    registry.add(Do, publishing(Placed("lost"), fail=True))
    bus = make(registry)

    with pytest.raises(Failure):
        bus.send(Do())

    assert said() == []


def test_a_failed_event_handler_takes_everything_along(shipped: Shipped) -> None:
    """The command fails, so nothing has happened."""
    make, said = shipped
    registry = Registry()
    registry.add(Do, publishing(Placed("lost"), Noted()))
    registry.add(Noted, publishing(Placed("lost too"), fail=True))
    bus = make(registry)

    with pytest.raises(Failure):
        bus.send(Do())

    assert said() == []


def test_a_failed_nested_send_takes_its_own_events_along_and_no_others(shipped: Shipped) -> None:
    """Those of its event handlers and of what it sent itself included."""
    make, said = shipped
    registry = Registry()
    bus = make(registry)
    registry.add(Noted, lambda event, publish: publish(Placed("follow-up " + event.what)))

    @registry.handles(DoInside)
    def inner(command: DoInside, publish: Publish) -> None:
        publish(Placed("inner " + command.what))
        publish(Noted("inner " + command.what))
        if command.what == "bad":
            bus.send(DoInside("deeper"))
            raise Failure

    @registry.handles(Do)
    def outer(command: Do, publish: Publish) -> None:
        publish(Placed("before"))
        with suppress(Failure):
            bus.send(DoInside("bad"))
        bus.send(DoInside("good"))
        publish(Placed("after"))

    bus.send(Do())

    assert said() == [["before", "inner good", "follow-up inner good", "after"]]


def test_a_nested_send_that_succeeded_goes_with_the_outer_one_that_failed(shipped: Shipped) -> None:
    """It was only a part of it."""
    make, said = shipped
    registry = Registry()
    bus = make(registry)
    registry.add(DoInside, publishing(Placed("lost")))

    @registry.handles(Do)
    def outer(command: Do) -> None:
        bus.send(DoInside())
        raise Failure

    with pytest.raises(Failure):
        bus.send(Do())

    assert said() == []


def test_a_nested_send_in_an_event_handler_ships_with_the_outermost(shipped: Shipped) -> None:
    """However deep."""
    make, said = shipped
    registry = Registry()
    bus = make(registry)
    registry.add(Do, publishing(Placed("1"), Noted()))
    registry.add(Noted, lambda event: bus.send(DoInside()))
    registry.add(DoInside, publishing(Placed("2")))

    bus.send(Do())

    assert said() == [["1", "2"]]


def test_a_command_through_another_mediator_and_back_ships_with_the_outermost(shipped: Shipped) -> None:
    """Each mediator has one call; what is between them changes nothing."""
    make, said = shipped
    registry, others = Registry(), Registry()
    bus, other = make(registry), Mediator(others)
    others.add(Ask, lambda query: bus.send(DoInside()))

    class Pass(Command[None]): ...

    others.add(Pass, lambda command: bus.send(DoInside()))
    registry.add(DoInside, publishing(Placed("2")))

    @registry.handles(Do)
    def outer(command: Do, publish: Publish) -> None:
        publish(Placed("1"))
        other.send(Pass())
        publish(Placed("3"))

    bus.send(Do())

    assert said() == [["1", "2", "3"]]


def test_bus_publish_outside_of_a_command_ships_at_its_end(shipped: Shipped) -> None:
    """With its follow-ups, in one call."""
    make, said = shipped
    registry = Registry()
    registry.add(Placed, lambda event, publish: event.what == "1" and publish(Placed("2")))

    make(registry).publish(Placed("1"))

    assert said() == [["1", "2"]]


def test_a_query_ships_nothing_and_opens_no_transaction() -> None:
    """It reads."""
    ledger, registry = Ledger(), Registry()
    registry.add(Ask, lambda query: 7)

    assert Mediator(registry, transaction=ledger).send(Ask()) == 7
    assert ledger.log == []


# What surrounds what


def test_the_unit_is_inside_of_middlewares_and_around_handler_events_and_shipping() -> None:
    """Middlewares, unit, handler, events, shipping, commit."""
    ledger = Ledger()
    publisher = Recorder(log=ledger.log)
    registry = Registry()

    def middleware(message: Any, call_next: Callable[[Any], Any]) -> Any:
        ledger.log.append(f"enter {type(message).__name__}")
        answer = call_next(message)
        ledger.log.append(f"leave {type(message).__name__}")
        return answer

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        ledger.log.append("handler")
        publish(Placed())

    registry.add(Placed, lambda event: ledger.log.append("event handler"))

    Mediator(registry, middlewares=[middleware], transaction=ledger, publisher=publisher).send(Do())

    assert ledger.log == [
        "enter Do",
        "begin Do 0",
        "handler",
        "enter Placed",
        "event handler",
        "leave Placed",
        "publish",
        "commit Do 0",
        "leave Do",
    ]


def test_a_nested_command_is_a_nested_unit() -> None:
    """A savepoint, rolled back alone if the outer handler goes on."""
    ledger, registry = Ledger(), Registry()
    bus = Mediator(registry, transaction=ledger)
    registry.add(DoInside, publishing(fail=True))

    @registry.handles(Do)
    def outer(command: Do) -> str:
        with suppress(Failure):
            bus.send(DoInside())
        return "went on"

    assert bus.send(Do()) == "went on"
    assert ledger.log == ["begin Do 0", "begin DoInside 1", "rollback DoInside 1", "commit Do 0"]


def test_a_commit_that_fails_fails_the_command() -> None:
    """With its own exception; events that wait for the commit are gone."""
    later: list[str] = []
    ledger, registry = Ledger(failing=True), Registry()
    registry.add(Do, publishing(Noted()))
    registry.add(Noted, lambda event: later.append("ran"), after_commit=True)

    with pytest.raises(Failure, match="commit"):
        Mediator(registry, transaction=ledger).send(Do())

    assert (later, ledger.log) == ([], ["begin Do 0", "rollback Do 0"])


def test_a_transaction_that_does_not_open_fails_the_command() -> None:
    """The handler is never called."""
    called: list[str] = []
    registry = Registry()
    registry.add(Do, lambda command: called.append("handler"))

    def transaction(message: Message) -> Any:
        raise Failure("no connection")

    with pytest.raises(Failure, match="no connection"):
        Mediator(registry, transaction=transaction).send(Do())

    assert called == []


def test_a_transaction_cannot_swallow_the_failure_of_its_command() -> None:
    """Who forgets to raise again after a rollback would have ``send`` answer for work that is gone."""
    registry = Registry()
    registry.add(Do, publishing(fail=True))

    @contextmanager
    def forgetful(message: Message) -> Generator[None, None, None]:
        with suppress(Failure):
            yield

    with pytest.raises(Failure):
        Mediator(registry, transaction=forgetful).send(Do())


def test_the_publisher_not_accepting_fails_the_command_inside_its_transaction() -> None:
    """So that it rolls back; what was refused is named."""
    ledger, publisher, registry = Ledger(), Recorder(answer=refused("too odd")), Registry()
    registry.add(Do, publishing(Placed("1"), Placed("2")))

    with pytest.raises(NotPublished, match=r"did not accept 2 of 2: Placed .*: too odd"):
        Mediator(registry, transaction=ledger, publisher=publisher).send(Do())

    assert ledger.log == ["begin Do 0", "rollback Do 0"]


def test_a_publisher_that_does_not_know_counts_as_not_accepting() -> None:
    """Nobody would try again."""
    registry = Registry()
    registry.add(Do, publishing(Placed("1")))

    with pytest.raises(NotPublished, match="unknown"):
        Mediator(registry, publisher=Recorder(answer=UNKNOWN)).send(Do())


def test_a_publisher_that_raises_fails_the_command() -> None:
    """With its own exception."""

    class Broken:
        def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
            raise Failure("down")

    registry = Registry()
    registry.add(Do, publishing(Placed("1")))

    with pytest.raises(Failure, match="down"):
        Mediator(registry, publisher=Broken()).send(Do())


# Units that a transaction brings


def test_events_of_a_savepoint_that_the_user_rolled_back_are_neither_handled_nor_shipped() -> None:
    """An event belongs to the savepoint in which it was published."""
    transactions, log = SavepointTransactions(), []
    registry = Registry()
    registry.add(Noted, lambda event: log.append(event.what))

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> None:
        publish(Noted("kept"))
        publish(Placed("kept"))
        assert transactions.unit is not None
        with suppress(Failure), transactions.unit.atomic():
            publish(Noted("gone"))
            publish(Placed("gone"))
            raise Failure

    Mediator(registry, transaction=transactions, publisher=Recorder()).send(Do())

    assert (log, transactions.stored) == (["kept"], [["kept"]])


def test_follow_ups_of_a_savepoint_that_an_event_handler_rolled_back_are_gone() -> None:
    """Event handlers may use savepoints as well."""
    transactions, log = SavepointTransactions(), []
    registry = Registry()
    registry.add(Do, publishing(Noted("")))

    @registry.handles(Noted)
    def noted(event: Noted, publish: Publish) -> None:
        log.append(event.what)
        if event.what:
            return
        assert transactions.unit is not None
        with suppress(Failure), transactions.unit.atomic():
            publish(Noted("gone"))
            raise Failure
        publish(Noted("kept"))

    Mediator(registry, transaction=transactions).send(Do())

    assert log == ["", "kept"]


# Trials


class FirstThatWorks(Combined[Any, Any]):
    """A handler made of handlers: each is tried in a nested unit of work."""

    def __init__(self, *links: Any) -> None:
        self.links = links

    def build(self, bind: Bind, trial: Trial, /, *, is_stream: bool) -> Callable[[Any], Any]:
        """Build the links, once."""
        links = [bind(link) for link in self.links]

        def call(message: Any) -> Any:
            for link in links:
                try:
                    with trial(message):
                        return link(message)
                except Failure:
                    continue
            raise Failure("none worked")

        return call


def test_the_events_of_a_failed_trial_are_gone_and_those_of_the_next_one_are_kept(shipped: Shipped) -> None:
    """Those that were published around the trials stay."""
    make, said = shipped
    registry = Registry()
    log: list[str] = []
    registry.add(Noted, lambda event: log.append(event.what))
    registry.add(
        Do,
        FirstThatWorks(publishing(Placed("gone"), Noted("gone"), fail=True), publishing(Placed("kept"), Noted("kept"))),
    )

    make(registry).send(Do())

    assert (said(), log) == ([["kept"]], ["kept"])


def test_what_a_failed_trial_sent_is_gone_as_well(shipped: Shipped) -> None:
    """A nested send in a trial hands its events to the trial."""
    make, said = shipped
    registry = Registry()
    bus = make(registry)
    registry.add(DoInside, lambda command, publish: publish(Placed(command.what)))

    def first(command: Do) -> None:
        bus.send(DoInside("gone"))
        raise Failure

    registry.add(Do, FirstThatWorks(first, lambda command: bus.send(DoInside("kept"))))

    bus.send(Do())

    assert said() == [["kept"]]


def test_trials_nest(shipped: Shipped) -> None:
    """A handler made of handlers made of handlers."""
    make, said = shipped
    registry = Registry()
    inner = FirstThatWorks(publishing(Placed("a"), fail=True), publishing(Placed("b"), fail=True))
    registry.add(Do, FirstThatWorks(inner, publishing(Placed("c"))))

    make(registry).send(Do())

    assert said() == [["c"]]


def test_a_trial_of_an_event_handler_takes_its_events_along(shipped: Shipped) -> None:
    """Events are handled by built handlers too."""
    make, said = shipped
    registry = Registry()
    registry.add(Do, publishing(Placed("1"), Noted()))
    registry.add(Noted, FirstThatWorks(publishing(Placed("gone"), fail=True), publishing(Placed("2"))))

    make(registry).send(Do())

    assert said() == [["1", "2"]]


def test_a_trial_is_a_nested_transaction() -> None:
    """Rolled back if it fails."""
    ledger, registry = Ledger(), Registry()
    registry.add(Do, FirstThatWorks(publishing(fail=True), lambda command: "second"))

    assert Mediator(registry, transaction=ledger).send(Do()) == "second"
    assert ledger.log == ["begin Do 0", "begin Do 1", "rollback Do 1", "begin Do 1", "commit Do 1", "commit Do 0"]


def test_a_built_handler_is_built_once_and_its_links_are_injected() -> None:
    """Functions and classes, with publish and dependencies."""
    built: list[int] = []

    class Counting(FirstThatWorks):
        def build(self, bind: Bind, trial: Trial, /, *, is_stream: bool) -> Callable[[Any], Any]:
            built.append(1)
            return super().build(bind, trial, is_stream=is_stream)

    def link(command: Do, publish: Publish, *, prefix: str) -> str:
        return prefix + command.what

    registry = Registry()
    registry.add(Do, Counting(link))
    link.__annotations__["prefix"] = str
    bus = Mediator(registry, provide={str: lambda: "pre"})

    assert [bus.send(Do("1")), bus.send(Do("2"))] == ["pre1", "pre2"]
    assert built == [1]


# After the commit


def test_after_commit_handlers_run_after_the_commit_each_as_a_message_of_its_own() -> None:
    """In the order of events and registrations; each in a transaction of its own."""
    ledger, registry = Ledger(), Registry()
    registry.add(Do, publishing(Noted("1"), Noted("2")))
    registry.add(Noted, lambda event: ledger.log.append(f"a{event.what}"), after_commit=True)
    registry.add(Noted, lambda event: ledger.log.append(f"now{event.what}"))
    registry.add(Noted, lambda event: ledger.log.append(f"b{event.what}"), after_commit=True)

    Mediator(registry, transaction=ledger).send(Do())

    one = ["begin Noted 0", "{}", "commit Noted 0"]
    later = [line.format(name) for name in ("a1", "b1", "a2", "b2") for line in one]
    assert ledger.log == ["begin Do 0", "now1", "now2", "commit Do 0", *later]


def test_after_commit_handlers_of_a_nested_send_wait_for_the_outermost_commit() -> None:
    """Nothing is committed before that."""
    log: list[str] = []
    registry = Registry()
    bus = Mediator(registry, transaction=Ledger(log=log))
    registry.add(DoInside, publishing(Noted()))
    registry.add(Noted, lambda event: log.append("after"), after_commit=True)
    registry.add(Do, lambda command: bus.send(DoInside()))

    bus.send(Do())

    assert log[:5] == ["begin Do 0", "begin DoInside 1", "commit DoInside 1", "commit Do 0", "begin Noted 0"]
    assert "after" in log


def test_after_commit_handlers_of_a_failed_unit_never_run(shipped: Shipped) -> None:
    """Nested or not."""
    make, _ = shipped
    log: list[str] = []
    registry = Registry()
    bus = make(registry)
    registry.add(Noted, lambda event: log.append(event.what), after_commit=True)
    registry.add(DoInside, publishing(Noted("nested"), fail=True))

    @registry.handles(Do)
    def outer(command: Do, publish: Publish) -> None:
        publish(Noted("outer"))
        with suppress(Failure):
            bus.send(DoInside())
        if command.what == "bad":
            raise Failure

    bus.send(Do())
    with pytest.raises(Failure):
        bus.send(Do("bad"))

    assert log == ["outer"]


def test_a_failing_after_commit_handler_is_logged_and_stops_nobody(
    caplog: pytest.LogCaptureFixture, shipped: Shipped
) -> None:
    """The answer is returned: the command was committed."""
    make, _ = shipped
    log: list[str] = []
    registry = Registry()
    bus = make(registry)

    @registry.handles(Do)
    def handler(command: Do, publish: Publish) -> str:
        publish(Noted())
        return "answer"

    @registry.handles(Noted, after_commit=True)
    def failing(event: Noted) -> None:
        raise Failure("mail server")

    registry.add(Noted, lambda event: log.append("second"), after_commit=True)

    assert bus.send(Do()) == "answer"
    assert log == ["second"]
    assert [record.getMessage() for record in caplog.records] == ["an after-commit handler of Noted failed"]
    assert caplog.records[0].levelno == logging.ERROR
    assert "mail server" in str(caplog.records[0].exc_info)


def test_what_an_after_commit_handler_publishes_is_a_unit_of_its_own() -> None:
    """It is handled and shipped, apart from the command's events."""
    publisher, registry, log = Recorder(), Registry(), []
    registry.add(Do, publishing(Placed("first"), Noted("x")))
    registry.add(Noted, lambda event, publish: event.what == "x" and publish(Placed("second")), after_commit=True)
    registry.add(Placed, lambda event: log.append(event.what))

    Mediator(registry, publisher=publisher).send(Do())

    assert (publisher.said, log) == ([["first"], ["second"]], ["first", "second"])


def test_what_an_after_commit_handler_sends_is_not_nested() -> None:
    """Its events are shipped at its own end, whatever surrounds the command's end."""
    publisher, registry = Recorder(), Registry()
    bus = Mediator(registry, publisher=publisher)
    registry.add(Do, publishing(Noted()))
    registry.add(Noted, lambda event: bus.send(DoInside()), after_commit=True)
    registry.add(DoInside, publishing(Placed("inside")))

    bus.send(Do())

    assert publisher.said == [["inside"]]


# Consumers' handlers


def test_consumer_handlers_never_run_where_the_event_is_published() -> None:
    """The event goes out instead, a domain event as well."""
    publisher, registry, log = Recorder(), Registry(), []
    registry.add(Do, publishing(Noted("domain"), Placed("integration")))
    registry.add(Noted, lambda event: log.append("noted"), consumer="mailing")
    registry.add(Placed, lambda event: log.append("placed"), consumer="mailing")
    registry.add(Placed, lambda event: log.append("here"))

    Mediator(registry, publisher=publisher).send(Do())

    assert (log, publisher.said) == (["here"], [["domain", "integration"]])


# Middlewares that do more than pass on


def test_what_a_middleware_sends_after_the_commit_is_a_unit_of_its_own(shipped: Shipped) -> None:
    """The unit of the message that it surrounds is over."""
    make, said = shipped
    registry = Registry()

    def audit(message: Any, call_next: Callable[[Any], Any]) -> Any:
        if isinstance(message, Do):
            bus.send(DoInside("before"))
            answer = call_next(message)
            bus.send(DoInside("after"))
            return answer
        return call_next(message)

    bus = make(registry, middlewares=[audit])
    registry.add(Do, publishing(Placed("command")))
    registry.add(DoInside, lambda command, publish: publish(Placed(command.what)))

    bus.send(Do())

    assert said() == [["before"], ["command"], ["after"]]


def test_what_a_middleware_sent_before_a_command_that_failed_stays(shipped: Shipped) -> None:
    """It was committed by then."""
    make, said = shipped
    registry = Registry()

    def audit(message: Any, call_next: Callable[[Any], Any]) -> Any:
        if isinstance(message, Do):
            bus.send(DoInside("audited"))
        return call_next(message)

    bus = make(registry, middlewares=[audit])
    registry.add(Do, publishing(Placed("gone"), fail=True))
    registry.add(DoInside, lambda command, publish: publish(Placed(command.what)))

    with pytest.raises(Failure):
        bus.send(Do())

    assert said() == [["audited"]]


def test_what_a_middleware_publishes_is_a_message_of_its_own(shipped: Shipped) -> None:
    """Handled and shipped at once, before or after the command's own events."""
    make, said = shipped
    registry, log = Registry(), []

    def audit(message: Any, call_next: Callable[[Any], Any]) -> Any:
        if not isinstance(message, Do):
            return call_next(message)
        bus.publish(Placed("before"))
        answer = call_next(message)
        bus.publish(Placed("after"))
        return answer

    bus = make(registry, middlewares=[audit])
    registry.add(Do, publishing(Placed("command")))
    registry.add(Placed, lambda event: log.append(event.what))

    bus.send(Do())

    assert said() == [["before"], ["command"], ["after"]]
    assert log == ["before", "command", "after"]


def test_a_retrying_middleware_repeats_the_whole_unit_and_doubles_no_event(shipped: Shipped) -> None:
    """What the failed attempts published is gone, what their event handlers published too."""
    make, said = shipped
    registry, attempts = Registry(), []

    def retrying(message: Any, call_next: Callable[[Any], Any]) -> Any:
        for _ in range(2):
            with suppress(Failure):
                return call_next(message)
        return call_next(message)

    registry.add(Do, publishing(Placed("placed"), Noted()))

    @registry.handles(Noted)
    def noted(event: Noted, publish: Publish) -> None:
        publish(Placed("follow-up"))

    @registry.handles(Placed)
    def unlucky(event: Placed) -> None:
        attempts.append(event.what)

    @registry.handles(Noted)
    def fails_twice(event: Noted) -> None:
        if len([a for a in attempts if a == "placed"]) < 3:
            raise Failure

    make(registry, middlewares=[lambda m, n: retrying(m, n) if isinstance(m, Do) else n(m)]).send(Do())

    assert said() == [["placed", "follow-up"]]
    assert attempts == ["placed", "placed", "placed", "follow-up"]
