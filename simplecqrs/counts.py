"""What a consumer has done since it started."""

from __future__ import annotations

from attrs import define

__all__ = ["Counts"]


@define
class Counts:
    """What a consumer has done since it started."""

    handled: int = 0
    failed: int = 0
    unclaimed: int = 0
    discarded: int = 0
    paused: int = 0
    fetched: int = 0
    seen: int = 0
