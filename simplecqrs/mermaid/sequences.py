"""A sequence diagram's text, written call by call."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

from simplecqrs.mermaid.labels import label

__all__ = ["Block", "Sequence"]

Block = Literal["alt", "critical", "opt", "par"]


class Sequence:
    """A sequence diagram that grows."""

    def __init__(self) -> None:
        self._participants: list[str] = []
        self._lines: list[str] = []
        self._indent = "    "

    def participant(self, text: str, *, actor: bool = False) -> str:
        """Add somebody who calls or is called, and return the id."""
        name = f"p{len(self._participants) + 1}"
        self._participants.append(f"    {'actor' if actor else 'participant'} {name} as {label(text) or name}")
        return name

    def call(self, source: str, target: str, text: str) -> None:
        """Let one call the other."""
        self._add(f"{source}->>{target}: {label(text)}")

    def answer(self, source: str, target: str, text: str) -> None:
        """Let the one that was called answer."""
        self._add(f"{source}-->>{target}: {label(text)}")

    def failure(self, source: str, target: str, text: str) -> None:
        """Let the one that was called fail."""
        self._add(f"{source}--x{target}: {label(text)}")

    def note(self, over: str, text: str) -> None:
        """Write something over a participant."""
        self._add(f"Note over {over}: {label(text)}")

    @contextmanager
    def block(self, kind: Block, text: str) -> Generator[None, None, None]:
        """Frame what is added meanwhile."""
        self._add(f"{kind} {label(text)}")
        self._indent += "    "
        yield
        self._indent = self._indent[4:]
        self._add("end")

    def otherwise(self, kind: Literal["and", "else", "option"], text: str) -> None:
        """Go on with the next part of the block that is open."""
        self._indent = self._indent[4:]
        self._add(f"{kind} {label(text)}")
        self._indent += "    "

    def text(self) -> str:
        """Return all of it."""
        return "\n".join(["sequenceDiagram", *self._participants, *self._lines]) + "\n"

    def _add(self, line: str) -> None:
        self._lines.append(f"{self._indent}{line}")
