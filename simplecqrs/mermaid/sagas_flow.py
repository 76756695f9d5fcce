"""The flowchart of a saga: its steps, what undoes them, and where a stored one went."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from simplecqrs.mermaid.saga_drawing import Drawing
from simplecqrs.mermaid.saga_failures import Failures
from simplecqrs.mermaid.saga_steps import failing_steps
from simplecqrs.saga import Entry, Record, Saga
from simplecqrs.saga.standing import standings

__all__ = ["saga_flow", "saga_path"]


def saga_flow(saga: Saga[Any], *, failing: Collection[str] | None = None) -> str:
    """
    Draw a saga as a flowchart: steps, fallbacks, the pivot, what is waited for, and what undoes what.

    Args:
        failing: the steps whose failure is drawn; none of them leaves the way that succeeds.  Default: all.

    Raises:
        InvalidSaga: if one of them is no step of it.
    """
    drawing = Drawing(saga, {}, None)
    if steps := failing_steps(saga, failing):
        Failures(drawing).draw(steps)
    return drawing.chart.text()


def saga_path(saga: Saga[Any], record: Record, history: Sequence[Entry] = ()) -> str:
    """
    Draw a stored saga as a flowchart, coloured by what each step came to, and with the way that it went.

    Args:
        history: its log, ``bus.sagas.history(record.id)``.  Without it, failures before a step's last call are missing.
    """
    drawing = Drawing(saga, standings(saga, record, history), record)
    Failures(drawing).draw(failing_steps(saga, None))
    drawing.draw_strangers()
    return drawing.chart.text()
