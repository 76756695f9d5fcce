"""Log lines tell of the message that they are about, by one naming of fields."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
from attrs import evolve, frozen

from simplecqrs import (
    Command,
    DomainEvent,
    Envelope,
    Mediator,
    NotificationEvent,
    Publish,
    Query,
    Registry,
    Retry,
    context,
    current,
)
from simplecqrs.consumer import Consumer
from simplecqrs.expiry import shipping_unexpired
from simplecqrs.fetcher import Fetcher
from simplecqrs.logs import CorrelationFilter, current_fields
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.metadata import setting_late
from simplecqrs.policies import Policy
from simplecqrs.queue import Box, lane_of
from simplecqrs.relay import Relay
from simplecqrs.timing import EXPIRY
from simplecqrs.transport import Garbage
from tests.contracts.queue_harness import make

log = logging.getLogger("shop.deep.inside")


@frozen
class Do(Command[None]):
    """A command."""


@frozen
class Ask(Query[None], name="shop.Ask"):
    """A query with a name of its own."""


@frozen
class Happened(DomainEvent):
    """An event."""


@frozen
class Placed(NotificationEvent, topic="orders", key="who"):
    """An event that comes from elsewhere."""

    who: str


class Keeping(logging.Handler):
    """Keeps records, as a project's own handler would write them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.records.append(record)

    def fields(self, logger: str = log.name) -> list[dict[str, Any]]:
        """Return our fields of a logger's lines."""
        found = [vars(record) for record in self.records if record.name == logger]
        return [{name[5:]: one[name] for name in one if name.startswith("cqrs_")} for one in found]


@pytest.fixture
def kept() -> Iterator[Keeping]:
    """Log everything through the filter."""
    keeping, root = Keeping(), logging.getLogger()
    keeping.addFilter(CorrelationFilter())
    before, root.level = root.level, logging.DEBUG
    root.addHandler(keeping)
    yield keeping
    root.removeHandler(keeping)
    root.setLevel(before)


def test_a_projects_own_lines_tell_of_the_message_that_is_handled(kept: Keeping) -> None:
    """Whoever writes them, however deep: the innermost message counts, and its name is that on the wire."""
    seen = []
    registry = Registry()
    bus = Mediator(registry)

    def ask(query: Ask) -> None:
        log.info("looking")
        seen.append(current())

    def do(command: Do, publish: Publish) -> None:
        log.info("doing")
        bus.send(Ask())
        publish(Happened())
        seen.append(current())

    registry.add(Ask, ask)
    registry.add(Do, do)
    registry.add(Happened, lambda event: log.info("happened"))

    with context(correlation_id="request-1"):
        log.info("before")
        bus.send(Do())
    log.info("after")

    asked, done = seen
    before, doing, looking, happened, after = kept.fields()
    assert before == {"correlation_id": "request-1", "message": "", "id": ""}
    assert doing == {"message": "Do", "id": str(done.id), "correlation_id": "request-1"}
    assert looking == {
        "message": "shop.Ask", "id": str(asked.id), "correlation_id": "request-1", "causation_id": str(done.id),
    }  # fmt: skip
    assert (happened["message"], happened["causation_id"]) == ("Happened", str(done.id))
    assert after == {"correlation_id": "", "message": "", "id": ""}


def test_what_a_line_says_itself_stays(kept: Keeping) -> None:
    """It may be about another message than the one that is handled."""
    registry = Registry()
    registry.add(Do, lambda command: log.info("told", extra={"cqrs_id": "another"}))

    Mediator(registry).send(Do())

    assert kept.fields()[0]["id"] == "another"


class Unread(Mapping[str, str]):
    """Headers that nobody may read while a line is written: the user of a request, whose session is broken."""

    def __getitem__(self, name: str) -> str:
        raise RuntimeError("the transaction is broken")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("the transaction is broken")

    def __len__(self) -> int:
        raise RuntimeError("the transaction is broken")


def test_to_write_a_line_nobody_is_asked_who_sent_the_message(kept: Keeping) -> None:
    """It may be written in the middle of a failure, or about the question itself."""
    registry = Registry()
    registry.add(Do, lambda command: log.info("doing"))

    with setting_late("request-1", Unread()):
        Mediator(registry).send(Do())

    assert kept.fields() == [{"message": "Do", "correlation_id": "request-1", "id": ""}]


def test_lines_tell_for_whom_a_message_is_handled(kept: Keeping) -> None:
    """As far as its headers say so."""
    registry = Registry()
    registry.add(Do, lambda command: log.info("doing"))

    with context(user="7", tenant="acme", colour="red"):
        Mediator(registry).send(Do())

    [fields] = kept.fields()
    assert (fields["user"], fields["tenant"]) == ("7", "acme")
    assert "colour" not in fields


def inbox_of(*envelopes: Envelope, box: Box = "inbox", queue: str = "mailing") -> MemoryQueue:
    """Return a queue in which these wait."""
    storage = MemoryQueue(box)
    storage.append([(queue, lane_of(envelope), envelope) for envelope in envelopes])
    return storage


def placed(**attributes: Any) -> Envelope:
    """Return an event that somebody else has published."""
    return evolve(make(key="ada", headers={"user": "7"}), name="Placed", correlation_id="request-1", **attributes)


FIELDS = {"message": "Placed", "correlation_id": "request-1", "topic": "orders", "key": "ada", "user": "7"}


def test_in_a_consumer_lines_tell_of_the_queue_as_well(kept: Keeping) -> None:
    """And of what was received, before a handler is found for it; afterwards of nothing."""
    envelope = placed()

    def receive(envelope: Envelope) -> bool:
        log.info("received")
        return True

    Consumer(consumer="mailing", storage=inbox_of(envelope), receive=receive).step()
    log.info("afterwards")

    received, afterwards = kept.fields()
    assert received == {**FIELDS, "id": str(envelope.id), "queue": "mailing", "attempts": 0}
    assert afterwards == {"message": "", "id": "", "correlation_id": ""}
    assert current_fields() == {}


def test_in_a_consumers_handler_both_are_told(kept: Keeping) -> None:
    """Of what it received, and of what that causes, which came from the same queue."""
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Placed, lambda event: (log.info("handling"), bus.send(Do())), consumer="mailing")
    registry.add(Do, lambda command: log.info("doing"))
    envelope = evolve(placed(), payload=b'{"who": "ada"}')
    receive = partial(bus.receive, consumer="mailing")

    Consumer(consumer="mailing", storage=inbox_of(envelope), receive=receive).step()

    handling, doing = kept.fields()
    assert handling == {**FIELDS, "id": str(envelope.id), "queue": "mailing", "attempts": 0}
    assert (doing["message"], doing["causation_id"]) == ("Do", str(envelope.id))
    assert (doing["correlation_id"], doing["queue"], doing["attempts"]) == ("request-1", "mailing", 0)


def refusing(envelope: Envelope) -> None:
    """Let a broker refuse it."""
    broker = MemoryBroker(refuse=lambda _: "too odd")
    storage = inbox_of(envelope, box="outbox", queue="events")
    Relay(queue="events", storage=storage, publisher=broker).step()


def expiring(envelope: Envelope) -> None:
    """Let it expire."""
    old = evolve(envelope, headers={**envelope.headers, EXPIRY: "2020-01-01T00:00:00Z"})
    storage = inbox_of(old, box="outbox", queue="events")
    Relay(queue="events", storage=storage, publisher=shipping_unexpired(MemoryBroker())).step()


def failing(envelope: Envelope) -> None:
    """Let a handler fail, at first at once again."""

    def receive(envelope: Envelope) -> bool:
        raise ValueError

    policy = Policy(Retry(2, first=0, inline=1))
    Consumer(consumer="mailing", storage=inbox_of(envelope), receive=receive, policy=lambda _: policy).step()


def unclaimed(envelope: Envelope) -> None:
    """Let nobody want it."""
    Consumer(consumer="mailing", storage=inbox_of(envelope), receive=lambda _: False).step()


def unbelieved(envelope: Envelope) -> None:
    """Let a fetcher not believe it."""
    broker = MemoryBroker()
    broker.litter("orders", Garbage(f"{envelope.id} is forged", b"", claim=envelope))
    Fetcher(consumer="mailing", inbox=MemoryQueue("inbox"), feeds=broker.feeds("mailing", ["orders"])).step()


@pytest.mark.parametrize("happen", [refusing, expiring, failing, unclaimed, unbelieved])
def test_what_came_from_elsewhere_begins_no_line_of_its_own(kept: Keeping, happen: Callable[[Envelope], None]) -> None:
    """Nor does it act on a terminal: neither in the text nor in a field that a format may show."""
    evil = "ada\n2026-01-01 CRITICAL root: hacked\r\x1b[2J"

    happen(evolve(placed(), name=evil, key=evil, correlation_id=evil, headers={"user": evil, "tenant": evil}))

    ours = [record for record in kept.records if record.name.startswith("simplecqrs")]
    fields = [value for record in ours for name, value in vars(record).items() if name.startswith("cqrs_")]
    said = [record.getMessage() for record in ours] + [value for value in fields if isinstance(value, str)]
    assert len(ours) >= 1
    assert [text for text in said if not text.isprintable()] == []


@pytest.mark.parametrize(
    ("happen", "lines", "more"),
    [
        (refusing, 1, {"queue": "events", "attempts": 1}),
        (expiring, 1, {}),
        (failing, 2, {"queue": "mailing", "attempts": 1}),
        (unclaimed, 1, {"queue": "mailing", "attempts": 0}),
        (unbelieved, 1, {"queue": "mailing"}),
    ],
)
def test_our_own_lines_about_a_message_bear_its_fields(
    kept: Keeping, happen: Callable[[Envelope], None], lines: int, more: dict[str, Any]
) -> None:
    """Those of relay, fetcher and consumer, by the same names."""
    envelope = placed()

    happen(envelope)

    told = [vars(record) for record in kept.records]
    assert len(told) == lines
    for facts in told:
        wanted = {**FIELDS, "id": str(envelope.id), **more}
        assert {name: facts.get(f"cqrs_{name}") for name in wanted} == wanted
