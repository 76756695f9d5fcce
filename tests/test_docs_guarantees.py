"""Each guarantee that docs/guarantees.md gives has tests behind it, and they are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROMISED, _, SHOWN = (ROOT / "docs" / "guarantees.md").read_text().partition("## Shown by")
ROW = re.compile(r"^\| (\d+) \| (.*) \|$", re.MULTILINE)
TESTS = {number: re.findall(r"`(?:(\S+))?::(\S+)`", cells) for number, cells in ROW.findall(SHOWN)}


def collected_of(file: Path) -> set[str]:
    """Return the names of the tests that pytest collects of a file."""
    found = ast.walk(ast.parse(file.read_text())) if file.name.startswith("test_") else ()
    return {node.name for node in found if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_guarantee_has_a_row_of_tests() -> None:
    """Number by number."""
    assert [number for number, _ in ROW.findall(PROMISED)] == list(TESTS)


@pytest.mark.parametrize("number", TESTS)
def test_the_tests_behind_a_guarantee_exist(number: str) -> None:
    """Under the names that the page tells; one that begins with :: is in the file before it."""
    assert TESTS[number]
    file = ""
    for named, test in TESTS[number]:
        file = named or file
        assert test in collected_of(ROOT / file), f"{file}::{test}"
