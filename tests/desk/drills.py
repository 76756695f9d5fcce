"""Following a page of the documentation to the letter: its shell blocks are read, and done line by line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from pathlib import Path

from django.core.management import CommandError, call_command

__all__ = ["follow", "lines_of"]

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)

#: What hands do that no command of ours does, by the line without its ``#``, or by a verb and a unit of systemd.
Hands = Mapping[str, Callable[[], object]]


def lines_of(page: str, heading: str) -> list[str]:
    """Return the lines of the shell blocks under a heading of a page."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    return [line for block in BLOCK.findall(section) for line in block.splitlines() if line.strip()]


def follow(page: str, heading: str, hands: Hands, **known: str) -> str:
    """
    Do what a page says under a heading, and return what its commands said.

    Args:
        known: values of variables, in place of the page's examples.
    """
    out, values = StringIO(), dict[str, str]()
    for line in lines_of(page, heading):
        assigned = re.match(r"([A-Z]+)=(\S+)", line)
        if assigned:
            values[assigned[1]] = known.get(assigned[1], assigned[2])
        elif line.startswith("# "):
            hands[line[2:]]()
        else:
            _do(line, values, hands, out)
    return out.getvalue()


def _do(line: str, values: Mapping[str, str], hands: Hands, out: StringIO) -> None:
    spelt = re.sub(r"\$([A-Z]+)", lambda found: values[found[1]], line)
    program, *arguments = shlex.split(spelt, comments=True)
    if program == "manage.py":
        _manage(arguments, out)
        return
    for act in _acts(program, arguments):
        hands[act]()


def _manage(arguments: list[str], out: StringIO) -> None:
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except CommandError as error:
        out.write(f"ends with {error.returncode}: {error}\n")


def _acts(program: str, arguments: list[str]) -> Iterator[str]:
    assert program == "systemctl", f"nobody knows how to do {program!r}"
    verb, *units = arguments
    for unit in units:
        yield f"{verb} {unit}"
