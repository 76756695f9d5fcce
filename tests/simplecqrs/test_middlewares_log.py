"""The middlewares that need no library: log lines, warnings when something is slow, and how middlewares compose."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import attrs
import pytest
from attrs import frozen

import simplecqrs.middlewares
from simplecqrs import Command, DomainEvent, Mediator, Message, Publish, Query, Registry, Stream, current
from simplecqrs.middlewares import logged, slow
from simplecqrs.middlewares.masking import hiding, shown_fields
from simplecqrs.pipeline import Middleware


@frozen
class Do(Command[object]):
    """A command."""

    name: str = "Ada"


@frozen
class Ask(Query[str]):
    """A query."""


@frozen
class Happened(DomainEvent):
    """An event."""


@frozen
class Count(Stream[int]):
    """Is answered by numbers."""

    fails: bool = False


@frozen
class SignIn(Command[None]):
    """Holds what nobody is to see."""

    user: str
    password: str = ""
    pin: str = attrs.field(default="", repr=False)


class Failure(Exception):
    """What a handler raises."""


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="simplecqrs")


def send(message: Command[Any], handler: Callable[..., Any], *middlewares: Middleware) -> Any:
    """Send a command to this handler, through these middlewares."""
    registry = Registry()
    registry.add(type(message), handler)
    return Mediator(registry, middlewares=middlewares).send(message)


def streaming(*middlewares: Middleware) -> Mediator:
    """Return a mediator with a stream, and these middlewares."""
    registry = Registry()

    @registry.handles(Count)
    def count(message: Count) -> Iterator[int]:
        yield 1
        if message.fails:
            raise Failure
        yield 2

    return Mediator(registry, middlewares=middlewares)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged, without the seconds."""
    return [f"{r.levelname} {r.getMessage().partition(' after ')[0]}" for r in caplog.records]


class TestLogged:
    """A line when a handler starts, and one when it ends or fails."""

    def test_logs_start_and_end_with_the_duration(self, caplog: pytest.LogCaptureFixture) -> None:
        """At the levels debug and info, by the logger ``simplecqrs``."""
        send(Do(), lambda command: None, logged())

        assert lines(caplog) == ["DEBUG Do started", "INFO Do ended"]
        assert caplog.records[1].name == "simplecqrs"
        assert caplog.messages[1].startswith("Do ended after 0.0")
        assert 0 <= vars(caplog.records[1])["cqrs_seconds"] < 1

    @pytest.mark.parametrize("answer", [None, 7, "text", [1], object()])
    def test_leaves_the_answer_alone_whatever_it_is(self, answer: object) -> None:
        """It calls nothing of it."""
        assert send(Do(), lambda command: answer, logged(fields=True)) is answer

    def test_logs_a_failure_by_the_type_of_its_error(self, caplog: pytest.LogCaptureFixture) -> None:
        """The error reaches the caller as it is; its text and its traceback are not logged."""

        def fail(command: Do) -> None:
            raise Failure("with a secret")

        with pytest.raises(Failure, match="with a secret"):
            send(Do(), fail, logged())

        record = caplog.records[1]
        assert lines(caplog) == ["DEBUG Do started", "WARNING Do failed"]
        assert record.getMessage().endswith(" s: Failure")
        assert vars(record)["cqrs_error"] == "Failure"
        assert record.exc_info is None
        assert "secret" not in caplog.text

    def test_records_bear_the_ids_of_the_message(self, caplog: pytest.LogCaptureFixture) -> None:
        """The same that a handler gets by ``current()``."""
        seen: list[Any] = []

        send(Do(), lambda command: seen.append(current()), logged())

        for record in caplog.records:
            facts = vars(record)
            assert facts["cqrs_message"] == "Do"
            assert facts["cqrs_id"] == str(seen[0].id)
            assert facts["cqrs_correlation_id"] == seen[0].correlation_id
            assert "cqrs_causation_id" not in facts

    def test_logs_nothing_where_the_level_is_off(self, caplog: pytest.LogCaptureFixture) -> None:
        """And looks nothing up."""
        caplog.set_level(logging.ERROR, logger="simplecqrs")

        send(Do(), lambda command: None, logged(fields=True))

        assert caplog.records == []

    def test_levels_and_logger_can_be_chosen(self, caplog: pytest.LogCaptureFixture) -> None:
        """By whoever makes it."""
        caplog.set_level(logging.DEBUG, logger="mine")
        mine = logging.getLogger("mine")
        middleware = logged(mine, start=logging.INFO, end=logging.WARNING, failure=logging.ERROR)

        def fail(command: Do) -> None:
            raise Failure

        send(Do(), lambda command: None, middleware)
        with pytest.raises(Failure):
            send(Do(), fail, middleware)

        assert [r.name for r in caplog.records] == ["mine"] * 4
        assert lines(caplog) == ["INFO Do started", "WARNING Do ended", "INFO Do started", "ERROR Do failed"]

    def test_surrounds_queries_and_events_as_well(self, caplog: pytest.LogCaptureFixture) -> None:
        """Each call of a handler."""
        registry = Registry()
        registry.add(Ask, lambda query: "answer")
        registry.add(Happened, lambda event: bus.send(Ask()))

        def handler(command: Do, publish: Publish) -> None:
            publish(Happened())

        registry.add(Do, handler)
        bus = Mediator(registry, middlewares=[logged(start=logging.NOTSET)])
        caplog.set_level(logging.INFO, logger="simplecqrs")

        bus.send(Do())

        assert lines(caplog) == ["INFO Ask ended", "INFO Happened ended", "INFO Do ended"]

    def test_shows_fields_when_asked_to(self, caplog: pytest.LogCaptureFixture) -> None:
        """In the line, and for machines."""
        send(Do(), lambda command: None, logged(fields=True))

        assert lines(caplog) == ["DEBUG Do(name='Ada') started", "INFO Do(name='Ada') ended"]
        assert vars(caplog.records[0])["cqrs_fields"] == {"name": "'Ada'"}

    def test_shows_no_secrets_even_when_a_handler_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        """Neither in the lines nor in what records bear."""

        def fail(command: SignIn) -> None:
            raise Failure(command)

        with pytest.raises(Failure):
            send(SignIn("ada", "s3cret", "s3cret"), fail, logged(fields=True))

        assert len(caplog.records) == 2
        assert all("user='ada'" in message for message in caplog.messages)
        assert "s3cret" not in str([vars(record) for record in caplog.records])

    def test_a_mask_of_ones_own_takes_the_place_of_the_default(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is one name, or several."""
        for mask in ("user", ["user", "nothing"]):
            send(SignIn("ada", "shown"), lambda command: None, logged(fields=True, mask=mask))

        assert {message.partition(" ")[0] for message in caplog.messages} == {"SignIn(password='shown')"}

    def test_works_outside_of_a_dispatch(self, caplog: pytest.LogCaptureFixture) -> None:
        """In a test of one's own, for example."""
        assert logged()(Do(), lambda command: 7) == 7
        assert lines(caplog) == ["DEBUG Do started", "INFO Do ended"]

    def test_a_stream_that_its_reader_closes_has_ended(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is no failure to have had enough."""
        items = streaming(logged()).stream(Count())

        next(items)
        items.close()

        assert lines(caplog) == ["DEBUG Count started", "INFO Count ended"]

    def test_a_stream_ends_with_its_last_item(self, caplog: pytest.LogCaptureFixture) -> None:
        """And fails where an item does."""
        bus = streaming(logged())

        for _ in bus.stream(Count()):
            assert lines(caplog) == ["DEBUG Count started"]
        with pytest.raises(Failure):
            list(bus.stream(Count(fails=True)))

        assert lines(caplog)[1:] == ["INFO Count ended", "DEBUG Count started", "WARNING Count failed"]


class Colour(Enum):
    """A value that has a name."""

    RED = "r"


class Point(NamedTuple):
    """A tuple whose items have names."""

    x: int
    token: str


@dataclass
class Card:
    """Holds a secret that is marked."""

    owner: str
    number: str = field(default="s3cret", repr=False)


class Unknown:
    """Shows in its repr what nobody asked for."""

    def __repr__(self) -> str:
        return "s3cret"


class TestShownFields:
    """What of a message may be shown."""

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1, "1"),
            ("text", "'text'"),
            (None, "None"),
            (Colour.RED, "Colour.RED"),
            ([1, "a"], "[1, 'a']"),
            ({"a": 1, "token": "s3cret", 2: 3}, "{'a': 1, 2: 3}"),
            (Card("ada"), "Card(owner='ada')"),
            ([Card("ada")], "[Card(owner='ada')]"),
            ({"card": Card("ada")}, "{'card': Card(owner='ada')}"),
            (SignIn("ada", "s3cret", "s3cret"), "SignIn(user='ada')"),
            (Point(1, "s3cret"), "Point(x=1)"),
            (Unknown(), "<Unknown>"),
            (frozenset({1}), "[1]"),
            ("x" * 500, "'" + "x" * 199 + "..."),
            (list(range(100)), "[" + ", ".join(map(str, range(20))) + ", ...]"),
            ([[[[[[[1]]]]]]], "[[[[[...]]]]]"),
        ],
        ids=repr,
    )
    def test_shows_values_in_short_and_leaves_out_what_is_hidden(self, value: object, text: str) -> None:
        """At any depth; of classes that it does not know it shows the name only."""

        @frozen
        class Message(Command[None]):
            value: object

        assert shown_fields(Message(value), hiding(["password", "*token*"])) == {"value": text}

    def test_takes_a_fields_own_repr(self) -> None:
        """attrs lets a field say how it is shown."""

        @frozen
        class Message(Command[None]):
            iban: str = attrs.field(repr=lambda value: f"...{value[-4:]}")

        assert shown_fields(Message("DE001234"), hiding([])) == {"iban": "...1234"}

    @pytest.mark.parametrize("name", ["password", "Password", "csrf_token", "tokens"])
    def test_a_mask_asks_for_no_case(self, name: str) -> None:
        """Its star stands for any characters."""
        assert hiding(["password", "*token*"])(name)

    @pytest.mark.parametrize("name", ["passwords", "name", ""])
    def test_a_mask_is_of_the_whole_name(self, name: str) -> None:
        """Without a star it is that one name."""
        assert not hiding(["password", "*token*"])(name)


class TestSlow:
    """A warning when a handler takes long."""

    def test_warns_when_a_handler_takes_longer(self, caplog: pytest.LogCaptureFixture) -> None:
        """With the message, how long it took, and how long it might."""
        send(Do(), lambda command: None, slow(-1.0))

        assert caplog.records[0].levelname == "WARNING"
        assert caplog.messages[0].startswith("Do took 0.0")
        assert caplog.messages[0].endswith("longer than -1 s")
        assert vars(caplog.records[0])["cqrs_message"] == "Do"

    def test_is_silent_otherwise(self, caplog: pytest.LogCaptureFixture) -> None:
        """A second is long."""
        send(Do(), lambda command: None, slow())

        assert caplog.records == []

    def test_warns_of_failures_too(self, caplog: pytest.LogCaptureFixture) -> None:
        """A time-out is slow."""

        def fail(command: Do) -> None:
            raise Failure

        with pytest.raises(Failure):
            send(Do(), fail, slow(-1.0))

        assert len(caplog.records) == 1

    @pytest.mark.parametrize(
        ("thresholds", "warned"),
        [
            pytest.param({Message: -1.0}, True, id="base"),
            pytest.param({Message: -1.0, Do: 60.0}, False, id="nearest"),
            pytest.param({Message: 60.0, Command: -1.0}, True, id="nearer base"),
            pytest.param({Query: -1.0}, False, id="others"),
        ],
    )
    def test_types_of_messages_may_have_their_own_limits(
        self, caplog: pytest.LogCaptureFixture, thresholds: Any, *, warned: bool
    ) -> None:
        """The nearest base of a message counts."""
        send(Do(), lambda command: None, slow(thresholds))

        assert bool(caplog.records) is warned

    def test_watches_a_stream_to_its_last_item(self, caplog: pytest.LogCaptureFixture) -> None:
        """Not only until it has begun."""
        for _ in streaming(slow(-1.0)).stream(Count()):
            assert caplog.records == []

        assert len(caplog.records) == 1


class TestComposition:
    """Middlewares that ship are middlewares like others."""

    def test_the_first_is_outermost(self, caplog: pytest.LogCaptureFixture) -> None:
        """As they are written, from the outside in."""
        send(Do(), lambda command: None, logged(), slow(-1.0))

        assert [line.split()[2] for line in lines(caplog)] == ["started", "took", "ended"]

    def test_one_that_answers_by_itself_leaves_out_those_inside(self, caplog: pytest.LogCaptureFixture) -> None:
        """And those outside see its answer as any other."""

        def cached(message: Message, call_next: Callable[[Any], Any]) -> str:
            return "cached"

        assert send(Do(), lambda command: "fresh", logged(), cached, slow(-1.0)) == "cached"
        assert lines(caplog) == ["DEBUG Do started", "INFO Do ended"]


def modules_after(imported: str) -> set[str]:
    """Return what a fresh process has loaded after importing this."""
    program = f"import sys, {imported}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


class TestPackage:
    """Each middleware is imported when it is asked for."""

    def test_importing_the_package_imports_no_middleware(self) -> None:
        """Nor any library."""
        loaded = modules_after("simplecqrs.middlewares")

        assert [name for name in loaded if name.startswith("simplecqrs.middlewares.")] == []

    @pytest.mark.parametrize("module", ["log", "slowness", "retries", "tracing", "masking"])
    def test_importing_a_middleware_imports_no_library(self, module: str) -> None:
        """That happens when it is made."""
        loaded = modules_after(f"simplecqrs.middlewares.{module}, simplecqrs.breakers")

        assert loaded & {"stamina", "tenacity", "opentelemetry", "pydantic", "pybreaker", "redis"} == set()

    def test_a_name_that_does_not_exist_is_an_attribute_error(self) -> None:
        """As of any module."""
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = simplecqrs.middlewares.nothing
