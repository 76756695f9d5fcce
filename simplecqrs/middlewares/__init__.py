"""The middlewares that ship; each takes its options by name and returns a ``Middleware``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simplecqrs.middlewares.log import logged
    from simplecqrs.middlewares.retries import retrying
    from simplecqrs.middlewares.slowness import slow
    from simplecqrs.middlewares.tracing import traced
    from simplecqrs.middlewares.validation import validating

__all__ = ["logged", "retrying", "slow", "traced", "validating"]

_HOMES = {
    "logged": "log",
    "retrying": "retries",
    "slow": "slowness",
    "traced": "tracing",
    "validating": "validation",
}


def __getattr__(name: str) -> Any:
    """Import a middleware when it is asked for: who uses one does not pay for the others."""
    if name in _HOMES:
        return getattr(import_module(f"simplecqrs.middlewares.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
