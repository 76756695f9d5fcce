"""A stored saga as inline SVG: well-formed, escaped, told in words as well."""

from __future__ import annotations

from uuid import uuid4
from xml.etree import ElementTree

from simplecqrs import Mediator, Registry
from simplecqrs.memory import MemoryBroker
from simplecqrs.saga import Saga, Step
from simplecqrs.saga.records import Progress
from simplecqrs.svg import saga_svg
from tests.simplecqrs.pictured import STRANGE, Bank, Checkout, checkout, nothing, stored

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """Return what is written in the boxes."""
    return [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_it_shows_what_each_step_came_to() -> None:
    """Its fallback below it, and what has not begun as that."""
    registry = Registry()
    saga = checkout(registry)
    bus = Mediator(registry, publisher=MemoryBroker(), provide={Bank: Bank})
    record = stored(bus, saga, Checkout(7))
    svg = saga_svg(saga, record, bus.sagas.history(record.id))
    shown = texts(svg)

    assert list(zip(shown[::2], shown[1::2], strict=True)) == [
        ("reserve", "✓ done"), ("charge", "✗ failed (3 attempts)"), ("charge_later", "fallback ✓ done"),
        ("label", "✓ done"), ("warn", "✓ done"), ("paid", "⧗ waiting"), ("pack", "not begun"), ("ship", "not begun"),
        ("thank", "not begun"),
    ]  # fmt: skip
    assert "ConnectionError: the &quot;bank&quot; &lt;does&gt; not; answer" in svg


def test_it_is_told_in_words_as_well() -> None:
    """For those who do not see it: by a title and a description."""
    saga: Saga[Checkout] = Saga("trip", Checkout, [Step("a", nothing)], registry=Registry())
    record = saga.new(uuid4(), Checkout(1))
    record.progress["a"] = Progress("stuck", "undo act", attempts=2)
    root = ElementTree.fromstring(saga_svg(saga, record))

    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"].split() == [
        e.attrib["id"] for e in root if e.tag in (f"{SVG}title", f"{SVG}desc")
    ]
    assert [e.text for e in root[:2]] == ["saga trip: RUNNING", "a: done; undo act of a: stuck"]


def test_nothing_of_it_is_markup_that_somebody_else_has_written() -> None:
    """Names of steps and errors are shown as they are, cut where they are too long."""
    name = STRANGE[5] + '"><script>x</script>'
    saga: Saga[Checkout] = Saga("<b>", Checkout, [Step(name, nothing)], registry=Registry())
    record = saga.new(uuid4(), Checkout(1))
    record.progress[name] = Progress("failed", error="</title><script>\x00 ]]>")
    svg = saga_svg(saga, record)

    assert {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()} <= {
        "svg", "title", "desc", "defs", "marker", "path", "g", "rect", "text", "line",
    }  # fmt: skip
    assert "script>" not in svg.replace("script&gt;", "")
    assert all(len(text) <= 40 for text in texts(svg))
