"""The picture of a stored saga as inline SVG: its steps in a row, and below them what was undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final

from simplecqrs.mermaid.labels import cut
from simplecqrs.mermaid.saga_steps import called
from simplecqrs.saga import Entry, Record, Saga, Step
from simplecqrs.saga.records import Action
from simplecqrs.saga.standing import Standing, Stood, standings

__all__ = ["saga_svg"]

#: Pixels: of a box, between boxes, and of a row.
WIDTH, HEIGHT, GAP, ROW = 148, 44, 28, 76
#: So that it fits its page.
STYLE: Final = "max-width: 100%; height: auto; color: inherit"
#: Characters of a box's line.
LONGEST: Final = 19
#: Colours that can be told apart on white and on black; pages may set ``--cqrs-done`` and so on.
COLOURS: Final[dict[Standing, str]] = {
    "done": "#2f9e44", "running": "#1f7aec", "waiting": "#845ef7", "failed": "#e03131", "undone": "#e8590c",
    "stuck": "#e03131", "unknown": "#f08c00", "skipped": "#868e96",
}  # fmt: skip
#: What a person reads in a box.
SIGNS: Final[dict[Standing, str]] = {
    "done": "✓", "running": "…", "waiting": "⧗", "failed": "✗", "undone": "↶", "stuck": "✗", "unknown": "?",
    "skipped": "»",
}  # fmt: skip
#: What stands below a step if it was called, and how that is said.
BELOW: Final[dict[Action, str]] = {"fallback": "fallback ", "undo act": "undo ", "undo fallback": "undo "}


def saga_svg(saga: Saga[Any], record: Record, history: Sequence[Entry] = (), *, style: str = STYLE) -> str:
    """
    Draw a stored saga as an ``<svg>`` element for a page: no script, no style sheet, and dark pages suit it as well.

    Steps stand in a row, those of a ``Parallel`` below each other; fallbacks and what was undone stand below their
    step.  It takes its text's colour from the page.

    Args:
        history: its log, ``bus.sagas.history(record.id)``.  Without it, failures before a step's last call are missing.
        style: of the element; empty for a page whose policy forbids style attributes, and whose style sheet knows it.
    """
    picture = _Picture(saga, record, standings(saga, record, history))
    return picture.svg(style)


class _Picture:
    """One picture of one saga."""

    def __init__(self, saga: Saga[Any], record: Record, known: dict[tuple[str, Action], Stood]) -> None:
        self.saga, self.record, self.known = saga, record, known
        self.mark = f"cqrs-arrow-{record.id}"  # ids belong to a whole page
        self.depth = 0

    def svg(self, style: str) -> str:
        """Draw all of it."""
        drawn = [text for index, group in enumerate(self.saga.groups) for text in self._column(index, group)]
        width = len(self.saga.groups) * (WIDTH + GAP) - GAP + 2
        height = self.depth + 2
        name = f"saga {self.saga.name}: {self.record.status}"
        styled = f' style="{escape(style)}"' if style else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}"{styled} font-family="inherit" '
            f'font-size="13" aria-labelledby="{self.mark}-title {self.mark}-desc">'
            f'<title id="{self.mark}-title">{_text(name, 300)}</title>'
            f'<desc id="{self.mark}-desc">{_text(self._told(), 2000)}</desc>'
            f'<defs><marker id="{self.mark}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="currentColor"/></marker></defs>'
            f"{''.join(drawn)}</svg>"
        )

    def _told(self) -> str:
        """Tell the picture in words."""
        told = [
            f"{'' if action == 'act' else f'{action} of '}{step}: {stood.standing}"
            for (step, action), stood in self.known.items()
        ]
        ahead = [name for name in self.saga.by_name if (name, "act") not in self.known]
        return "; ".join([*told, *(f"{name}: not begun" for name in ahead)])

    def _column(self, index: int, group: Sequence[Step[Any]]) -> Iterator[str]:
        """Draw a step, or those of a Parallel, with an arrow from the column before."""
        left, top = index * (WIDTH + GAP) + 1, 1
        if index:
            begun = any((step.name, "act") in self.known for step in group)
            yield self._arrow(left - GAP, top + HEIGHT / 2, left - 2, top + HEIGHT / 2, faint=not begun)
        for step in group:
            yield self._box(left, top, step.name, self.known.get((step.name, "act")))
            for action in BELOW:
                stood = self.known.get((step.name, action))
                if stood is not None:
                    top += ROW
                    yield self._arrow(left + WIDTH / 2, top - ROW + HEIGHT, left + WIDTH / 2, top - 2)
                    yield self._box(left, top, called(step, action), stood, prefix=BELOW[action])
            self.depth = max(self.depth, top + HEIGHT)
            top += ROW if len(group) > 1 else 0

    def _box(self, left: float, top: float, text: str, stood: Stood | None, *, prefix: str = "") -> str:
        colour = "currentColor" if stood is None else f"var(--cqrs-{stood.standing}, {COLOURS[stood.standing]})"
        faint = ' opacity="0.55"' if stood is None else ""
        dashes = ' stroke-dasharray="5 3"' if prefix == BELOW["undo act"] else ""
        says = "not begun" if stood is None else prefix + _says(stood)
        middle = left + WIDTH / 2
        hint = text if stood is None or not stood.error else f"{text}: {stood.error}"
        return (
            f"<g{faint}><title>{_text(hint, 300)}</title>"
            f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{colour}" fill-opacity="0.15" '
            f'stroke="{colour}" stroke-width="2"{dashes}/>'
            f'<text x="{middle}" y="{top + 18}" text-anchor="middle" fill="currentColor">{_text(text)}</text>'
            f'<text x="{middle}" y="{top + 35}" text-anchor="middle" fill="currentColor" font-size="11">{says}</text>'
            "</g>"
        )

    def _arrow(self, x1: float, y1: float, x2: float, y2: float, *, faint: bool = False) -> str:
        return (
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="currentColor" stroke-width="1.5" '
            f'opacity="{0.4 if faint else 1}" marker-end="url(#{self.mark})"/>'
        )


def _says(stood: Stood) -> str:
    tried = f" ({stood.attempts} attempts)" if stood.attempts > 1 else ""
    return f"{SIGNS[stood.standing]} {stood.standing}{tried}"


def _text(text: str, longest: int = LONGEST) -> str:
    """Return a text as it can stand in an element."""
    return escape(cut(text, longest))
