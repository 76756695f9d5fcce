"""A flowchart's text, written node by node and edge by edge."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final, Literal

from simplecqrs.mermaid.labels import lines

__all__ = ["KINDS", "Flowchart", "Shape"]

Shape = Literal["box", "end", "pivot", "wait", "topic", "message", "undo"]
#: How each shape is written.
SHAPES: Final[dict[Shape, tuple[str, str]]] = {
    "box": ("[", "]"),
    "end": ("([", "])"),
    "pivot": ("{{", "}}"),
    "wait": ("[/", "/]"),
    "topic": ("[(", ")]"),
    "message": (">", "]"),
    "undo": ("[[", "]]"),
}
#: The colours of what something came to: readable on white and on black.
KINDS: Final = {
    "done": "fill:#d1f0d9,stroke:#1e7e34,color:#0b3d17",
    "running": "fill:#d6e9ff,stroke:#1f6feb,color:#0a2a5c",
    "waiting": "fill:#e6e0ff,stroke:#6f42c1,color:#2b1a52",
    "failed": "fill:#ffd9d9,stroke:#c92a2a,color:#5c0f0f",
    "undone": "fill:#ffe8cc,stroke:#d9480f,color:#5c2b00",
    "stuck": "fill:#c92a2a,stroke:#5c0f0f,color:#ffffff",
    "unknown": "fill:#fff3bf,stroke:#e67700,color:#5c3d00",
    "skipped": "fill:#e9ecef,stroke:#868e96,color:#343a40",
}


class Flowchart:
    """
    A flowchart that grows.

    Args:
        direction: ``TD`` from top to bottom, ``LR`` from left to right.
    """

    def __init__(self, direction: Literal["TD", "LR"] = "TD") -> None:
        self._lines = [f"flowchart {direction}"]
        self._indent = "    "
        self._nodes = 0
        self._edges: list[str] = []
        self._taken: list[int] = []
        self._kinds: dict[str, list[str]] = {}

    def node(self, *texts: str, shape: Shape = "box", kind: str = "") -> str:
        """Add a node with these lines, and return its id; ``kind`` is one of ``KINDS``, or empty."""
        self._nodes += 1
        name = f"n{self._nodes}"
        opened, closed = SHAPES[shape]
        self._lines.append(f'{self._indent}{name}{opened}"{lines(*texts) or " "}"{closed}')
        if kind:
            self._kinds.setdefault(kind, []).append(name)
        return name

    @contextmanager
    def group(self, *texts: str) -> Generator[str, None, None]:
        """Put the nodes that are added meanwhile into a frame, and give its id."""
        self._nodes += 1
        name = f"g{self._nodes}"
        self._lines.append(f'{self._indent}subgraph {name}["{lines(*texts) or " "}"]')
        self._indent += "    "
        yield name
        self._indent = self._indent[4:]
        self._lines.append(f"{self._indent}end")

    def edge(self, source: str, target: str, text: str = "", *, dotted: bool = False, taken: bool = False) -> None:
        """Lead from one node, or frame, to another one; ``taken`` shows that somebody went there."""
        shown = lines(text)
        arrow = f'-. "{shown}" .->' if dotted and shown else "-.->" if dotted else f'-- "{shown}" -->'
        if taken:
            self._taken.append(len(self._edges))
        self._edges.append(f"    {source} {arrow if dotted or shown else '-->'} {target}")

    def text(self) -> str:
        """Return all of it."""
        return "\n".join([*self._lines, *self._edges, *self._styles()]) + "\n"

    def _styles(self) -> Iterable[str]:
        if self._taken:
            yield f"    linkStyle {','.join(map(str, self._taken))} stroke:#1e7e34,stroke-width:3px"
        for kind, names in self._kinds.items():
            yield f"    classDef {kind} {KINDS[kind]}"
            yield f"    class {','.join(names)} {kind}"
