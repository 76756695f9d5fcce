"""A line of numbers as a small picture for a page, without a script or a style."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString

__all__ = ["sparkline"]

#: Pixels; the line keeps off the edges by half its width.
WIDTH, HEIGHT, EDGE = 120, 24, 1.5


def sparkline(numbers: Sequence[float], *, title: str) -> SafeString:
    """
    Draw numbers, the oldest first, from zero to the largest of them.

    The line has the colour of the text around it.

    Args:
        title: what it tells in words.
    """
    most, last = max(numbers, default=0) or 1, max(len(numbers) - 1, 1)
    points = [
        f"{EDGE + at * (WIDTH - 2 * EDGE) / last:.1f},{HEIGHT - EDGE - number * (HEIGHT - 2 * EDGE) / most:.1f}"
        for at, number in enumerate(numbers)
    ]
    return format_html(
        '<svg class="cqrs-spark" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><title>{2}</title>'
        '<polygon points="{3},{4} {5} {6},{4}" fill="currentColor" fill-opacity="0.15"/>'
        '<polyline points="{5}" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linejoin="round"/></svg>',
        WIDTH,
        HEIGHT,
        title,
        EDGE,
        HEIGHT - EDGE,
        " ".join(points),
        WIDTH - EDGE,
    )
