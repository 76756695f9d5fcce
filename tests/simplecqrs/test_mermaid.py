"""Pictures as text: what is in them, and that nothing in them is what it was not meant to be."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import uuid4

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from simplecqrs import DomainEvent, Mediator, Registry, Retry
from simplecqrs.describing import describe
from simplecqrs.errors import InvalidSaga
from simplecqrs.memory import MemoryBroker
from simplecqrs.mermaid import application_flow, saga_flow, saga_path, saga_sequence
from simplecqrs.mermaid.flowcharts import KINDS
from simplecqrs.mermaid.labels import LONGEST, cut, label
from simplecqrs.saga import Saga, Step
from simplecqrs.saga.records import Progress
from tests.simplecqrs.pictured import Bank, Checkout, charge_card, checkout, every_picture, nothing, shop, stored

#: The labels of a picture; the names that it gives to what is drawn; and those that it uses.
QUOTED = re.compile(r'"[^"]*"')
GIVEN = re.compile(r"^ *(?:subgraph |class |participant |)([a-z]+\d+)(?=[\[({>]| as )", re.MULTILINE)
LED = re.compile(
    r"^ *([a-z]+\d+) ?(?:-->>|->>|--x|-->|-\.->|-\. \"\" \.->|-- \"\" -->|\*--|--\|>|\.\.>) ?([a-z]+\d+)", re.MULTILINE
)


@given(st.text(max_size=200))
def test_a_label_holds_no_syntax(text: str) -> None:
    """Whatever it is made of: letters, digits, single spaces, brackets, and numbers of characters."""
    assert re.fullmatch(r"(?:[^\W_]+(?:[._-][^\W_]+)*|[ ()]|#\d+;)*", label(text))
    assert len(cut(text)) <= LONGEST


@pytest.mark.parametrize(("name", "make"), list(every_picture()), ids=lambda item: item if type(item) is str else "")
def test_a_picture_gives_each_name_once(name: str, make: Callable[[], str]) -> None:
    """And what is led to is there."""
    drawn = QUOTED.sub('""', make())
    given_names: list[str] = GIVEN.findall(drawn)
    used = {name for pair in LED.findall(drawn) for name in pair}

    assert given_names
    assert len(given_names) == len(set(given_names))
    assert used <= set(given_names)


def test_a_flowchart_shows_all_of_a_saga() -> None:
    """Steps, fallback, pivot, what waits, what runs at the same time, and what undoes what."""
    drawn = saga_flow(checkout(Registry()))

    assert drawn.startswith("flowchart TD\n")
    for shown in (
        "reserve<br/>reserve_stock", "charge#44; fallback<br/>charge_later", "at the same time", "warn<br/>Warn.act",
        "waits for Paid", "for 1 day at most", "never asked twice", "from here on only forward", "undo warn",
        "nothing or cancel_later", "given up after 1000 attempts", "COMPLETED", "COMPENSATED", "UNKNOWN",
    ):  # fmt: skip
        assert shown in drawn


def test_only_the_failures_that_are_asked_for_are_shown() -> None:
    """And none, if none are."""
    saga = checkout(Registry())

    assert "COMPENSATED" not in saga_flow(saga, failing=())
    assert "alt" not in saga_sequence(saga, failing=())
    assert saga_sequence(saga, failing=["ship"]).count("else") == 1
    with pytest.raises(InvalidSaga, match="has no step 'shop'"):
        saga_flow(saga, failing=["shop"])


def test_a_sequence_shows_who_undoes_what() -> None:
    """In the opposite order, and not what failed."""
    drawn = saga_sequence(checkout(Registry()), failing=["ship"])

    assert re.findall(r"undo#58; (.+)$", drawn, re.MULTILINE) == [
        "Warn.compensate", "nothing", "nothing or cancel_later", "release_stock",
    ]  # fmt: skip


def test_a_stored_saga_shows_where_it_went() -> None:
    """Coloured by what its steps came to, with the errors, and the way in bold."""
    registry = Registry()
    saga = checkout(registry)
    bus = Mediator(registry, publisher=MemoryBroker(), provide={Bank: Bank})
    record = stored(bus, saga, Checkout(7))
    drawn = saga_path(saga, record, bus.sagas.history(record.id))

    assert record.status == "WAITING"
    assert "linkStyle " in drawn
    assert re.search(r"failed#44; 3 attempts<br/>ConnectionError", drawn)
    assert {kind for kind in KINDS if f"classDef {kind} " in drawn} == {"done", "failed", "waiting"}


def test_what_was_undone_and_what_could_not_be_are_told_apart() -> None:
    """And the end is the one that it has come to."""
    registry = Registry()
    steps = [Step("a", nothing, charge_card), Step("b", nothing, nothing), Step("c", charge_card)]
    saga = Saga("trip", Checkout, steps, compensation_retry=Retry(1), registry=registry)
    bus = Mediator(registry, provide={Bank: Bank})
    record = stored(bus, saga, Checkout(7))
    drawn = saga_path(saga, record, bus.sagas.history(record.id))

    assert record.status == "FAILED"
    assert {kind for kind in KINDS if f"classDef {kind} " in drawn} == {"done", "failed", "stuck", "undone"}
    assert drawn == saga_path(saga, record)  # one attempt each: the log says nothing more


def test_a_step_that_is_no_more_is_shown() -> None:
    """With what it came to, beside the others."""
    saga: Saga[Checkout] = Saga("trip", Checkout, [Step("a", nothing)], registry=Registry())
    record = saga.new(uuid4(), Checkout(1))
    record.progress["gone"] = Progress("done")

    assert "gone#44; act<br/>no step any more<br/>done" in saga_path(saga, record)


def test_an_application_is_drawn_from_command_to_consumer() -> None:
    """Over what its handlers publish and send, as their source shows it."""
    drawn = application_flow(shop())
    ids = {text: name for name, text in re.findall(r'^ +(\w+)\S*?"([^"<]+)', drawn, re.MULTILINE)}

    def leads(source: str, target: str) -> bool:
        return re.search(rf"^ +{ids[source]} .*> {ids[target]}$", drawn, re.MULTILINE) is not None

    assert leads("PlaceOrder", "place_order")
    assert leads("place_order", "OrderPlaced")
    assert leads("OrderPlaced", "topic orders")
    assert leads("topic orders", "send_mail")
    assert leads("send_mail", "Pay")
    assert leads("OrderPlaced", "ring")
    assert leads("saga checkout#44; step paid", "saga checkout")
    assert leads("saga checkout", "Reserved")


def test_a_part_of_an_application_can_be_drawn() -> None:
    """One message, with those who handle it."""
    drawn = application_flow(describe(shop()).about("PlaceOrder"))

    assert "place_order" in drawn
    assert "send_mail" not in drawn


def test_two_handlers_of_one_name_are_two() -> None:
    """And one handler of two events is one."""
    registry = Registry()

    @frozen
    class Rang(DomainEvent):
        pass

    @frozen
    class Knocked(DomainEvent):
        pass

    @registry.handles(Rang, Knocked)
    def open_door(event: Rang | Knocked) -> None: ...

    drawn = application_flow(Mediator(registry))

    assert drawn.count("open_door") == 1
    assert len(re.findall(r" --> ", drawn)) == 2
