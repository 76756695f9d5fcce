"""Every picture is understood by the real Mermaid, in a real Chromium, and shows what it is to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import files
from io import StringIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from django.core.management import call_command

from simplecqrs import Mediator, Registry
from simplecqrs.memory import MemoryBroker
from simplecqrs.mermaid.labels import cut, label
from simplecqrs.svg import saga_svg
from tests.simplecqrs.pictured import STRANGE, Bank, Checkout, checkout, every_picture, stored

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><script type="module">
import { mermaid } from "/index.js";
mermaid.initialize({ startOnLoad: false });
window.draw = async (text) => {
    await mermaid.parse(text);
    document.body.innerHTML = (await mermaid.render("picture", text)).svg;
    return document.body.textContent;
};
</script><body></body>"""


@pytest.fixture(scope="module")
def draw(chromium: Browser) -> Iterator[Callable[[str], str]]:
    """Return what lets Mermaid parse and draw a text, and returns what can be read in the picture."""
    found = {path.name: path for path in files("nicegui") or () if "elements/mermaid/dist/" in str(path)}
    assert "index.js" in found, "nicegui does not carry Mermaid any more"

    def serve(route: Route) -> None:
        name = urlsplit(route.request.url).path.removeprefix("/")
        if name:
            route.fulfill(body=found[name].read_binary(), content_type="text/javascript")
        else:
            route.fulfill(body=PAGE, content_type="text/html")

    page = chromium.new_page()
    page.route("**/*", serve)
    page.goto("http://pictures.test/")
    page.wait_for_function("() => window.draw !== undefined")
    yield lambda text: page.evaluate("text => draw(text)", text)
    page.close()


@pytest.mark.parametrize(("name", "make"), list(every_picture()), ids=lambda item: item if type(item) is str else "")
def test_mermaid_draws_it(draw: Callable[[str], str], name: str, make: Callable[[], str]) -> None:
    """And does not draw its picture of a syntax error."""
    assert "Syntax error" not in draw(make())


@pytest.mark.parametrize(
    "text",
    [
        "flowchart TD\n    a[b\n    c --\n",
        "sequenceDiagram\n    a->>\n",
        "classDiagram\n    class\n",
        "flowchart TD\n    n1 --> end\n",
    ],
    ids=["node", "call", "class", "reserved word"],
)
def test_mermaid_refuses_what_is_broken(draw: Callable[[str], str], text: str) -> None:
    """So what it draws has been looked at."""
    with pytest.raises(Exception, match=r"(Parse|Lexical) error"):
        draw(text)


@pytest.mark.parametrize("kind", ["flowchart TD", "sequenceDiagram", "classDiagram"])
def test_labels_are_read_as_they_were_written(draw: Callable[[str], str], kind: str) -> None:
    """Whatever they would mean to Mermaid, HTML or Markdown."""
    lines = {
        "flowchart TD": 'n{0}["{1}"] -. "{1}" .-> n{0}x(["{1}"])',
        "sequenceDiagram": "participant p{0} as {1}\nopt {1}\np{0}->>p{0}: {1}\nNote over p{0}: {1}\nend",
        "classDiagram": 'class c{0}["{1}"]\n<<event>> c{0}\nc{0} : {1}\nc{0} --> c{0} : {1}',
    }[kind]
    shown = draw("\n".join([kind, *(lines.format(index, label(text)) for index, text in enumerate(STRANGE))]))

    assert [text for text in STRANGE if cut(text) not in shown] == []


@pytest.mark.usefixtures("unblocked")
def test_mermaid_draws_what_the_command_prints(draw: Callable[[str], str]) -> None:
    """For the whole project of the tests."""
    out = StringIO()
    call_command("cqrs_describe", "--mermaid", stdout=out)

    assert "OpenTicket" in draw(out.getvalue())


def test_the_svg_fits_its_boxes(page: Page) -> None:
    """And can be read on a dark page as well as on a light one: its text has the page's colour."""
    registry = Registry()
    saga = checkout(registry)
    bus = Mediator(registry, publisher=MemoryBroker(), provide={Bank: Bank})
    record = stored(bus, saga, Checkout(7))
    page.set_content(f'<body style="color: rgb(1, 2, 3); font-family: sans-serif">{saga_svg(saga, record)}</body>')

    found: Any = page.evaluate(
        """() => [...document.querySelectorAll("svg g")].map(box => ({
            box: box.querySelector("rect").getBBox().width,
            text: Math.max(...[...box.querySelectorAll("text")].map(text => text.getBBox().width)),
            colour: getComputedStyle(box.querySelector("text")).fill,
        }))"""
    )

    assert len(found) >= len(saga.by_name)
    assert [box for box in found if box["text"] > box["box"] or box["colour"] != "rgb(1, 2, 3)"] == []
