"""What the office is asked for."""

from __future__ import annotations

from attrs import frozen

from simplecqrs import Stream

__all__ = ["ImportPeople", "Imported"]


@frozen
class Imported:
    """How far the import is."""

    number: int
    name: str


@frozen
class ImportPeople(Stream[Imported]):
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
