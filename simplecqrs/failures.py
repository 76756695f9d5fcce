"""What is known of a handler that has failed."""

from __future__ import annotations

from typing import Any

from attrs import frozen

__all__ = ["Failure"]


@frozen(eq=False)
class Failure:
    """A handler that failed: with which event, and how."""

    event: Any
    handler: Any
    error: Exception
