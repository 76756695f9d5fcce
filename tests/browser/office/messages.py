"""What the office is asked for."""

from __future__ import annotations

from attrs import frozen

__all__ = ["ImportPeople", "Imported"]


@frozen
class Imported:
    """How far the import is."""

    number: int
    name: str


# The place for `class ImportPeople(Stream[Imported])`; handlers.py and views.py say what changes with it.
@frozen
class ImportPeople:
    """
    Store people, one after the other, and tell of each.

    Args:
        pace: seconds that each takes.
        fail_at: the number of the one whose import fails; 0 for none.
    """

    batch: str
    skip: int = 0
    total: int = 20
    pace: float = 0.0
    fail_at: int = 0
