"""Each alarm and each check is explained: what it means, and what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "django_cqrs").rglob("*.py"))
#: What a module has whose functions yield alarms, each a line of text, or hold them in a list of that name.
ALARMING = re.compile(r"^def \w*alarms\w*\(|^ +alarms=\[", re.MULTILINE)
PAGE = (ROOT / "docs" / "alarms.md").read_text()
EXPLAINED = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", PAGE, re.MULTILINE))


def shape(node: ast.expr) -> str:
    """Return a text as the page writes it: what is filled in is an ellipsis, and so are quotation marks round it."""
    if isinstance(node, ast.JoinedStr):
        parts = [shape(part) if isinstance(part, ast.Constant) else "…" for part in node.values]
        return re.sub("…+", "…", "".join(parts))
    return str(ast.literal_eval(node))


def alarms() -> Iterator[tuple[str, str]]:
    """Go through the alarms of the source, each with its place."""
    for source in SOURCES:
        if ALARMING.search(source.read_text()):
            for node in ast.walk(ast.parse(source.read_text())):
                found = ((shape(said), f"{source.stem}:{said.lineno}") for said in _said(node))
                yield from (one for one in found if re.search(r"\w", one[0]))  # not: where an alarm is of


def _said(node: ast.AST) -> Iterator[ast.expr]:
    """Go through the texts that are yielded, or that ``alarms=[...]`` holds."""
    if isinstance(node, ast.Yield) and isinstance(node.value, ast.JoinedStr | ast.Constant):
        yield node.value
    elif isinstance(node, ast.YieldFrom) or (isinstance(node, ast.keyword) and node.arg == "alarms"):
        yield from (inner for inner in ast.walk(node.value) if isinstance(inner, ast.JoinedStr))


def texts() -> Iterator[str]:
    """Go through all texts of these modules that something is filled into: some become alarms elsewhere."""
    for source in SOURCES:
        if ALARMING.search(source.read_text()):
            yield from (shape(n) for n in ast.walk(ast.parse(source.read_text())) if isinstance(n, ast.JoinedStr))


def told_of(alarm: str) -> bool:
    """Tell whether the page has an alarm; where it says more of what is filled in than one ellipsis, that fits, too."""
    return any(re.fullmatch(_pattern(alarm), explained) for explained in EXPLAINED)


def _pattern(alarm: str) -> str:
    return "".join("…(?:.…)*" if part == "…" else re.escape(part) for part in re.split("(…)", alarm))


def test_every_alarm_is_explained() -> None:
    """As it stands in the source."""
    found = list(alarms())

    assert len(found) >= 10
    assert [f"{place}: {alarm}" for alarm, place in found if not told_of(alarm)] == []


def test_no_alarm_is_explained_that_is_gone() -> None:
    """What the page explains is in the source."""
    rows = [row for row in EXPLAINED if not row.startswith("cqrs.")]
    known = [*texts()]

    assert [row for row in rows if not any(re.fullmatch(_pattern(alarm), row) for alarm in known)] == []


def test_every_check_is_explained() -> None:
    """By its id, once."""
    ids = {found for source in SOURCES for found in re.findall(r'id="(cqrs\.[EW]\d+)"', source.read_text())}

    assert ids == {row for row in EXPLAINED if row.startswith("cqrs.")}
