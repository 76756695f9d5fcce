"""One thing that was found before a deploy."""

from __future__ import annotations

from attrs import frozen

__all__ = ["Finding"]


@frozen(kw_only=True)
class Finding:
    """
    What would break, or is worth to be known, and its cure.

    Args:
        where: box and queue, or the saga.
        name: of messages, as it is on the wire.
        count: how much waits there; may stop where the look has stopped.
    """

    kind: str
    database: str
    where: str
    what: str
    cure: str
    name: str = ""
    version: int | None = None
    count: int = 0
