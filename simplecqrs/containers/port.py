"""The port to what makes dependencies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from simplecqrs.errors import DependencyNotFound

__all__ = ["Container", "Resolve", "label", "nothing_provides"]

#: Takes a type and gives its instance.
Resolve = Callable[[Any], Any]


class Container(Protocol):
    """Makes dependencies; one method, and one question."""

    def scope(self) -> AbstractContextManager[Resolve]:
        """
        Open a scope: a context manager that gives ``resolve(type) -> instance``.

        Within a scope a type is made once, or as often as the library was told to.  Leaving it cleans up, in reverse
        order, after a failure as well.  Several may be open at a time, in one thread or in many, and share nothing;
        a scope itself stays in one thread.

        ``resolve`` raises DependencyNotFound for a type that nothing provides; what a factory raises passes.
        """
        ...

    def can_resolve(self, kind: Any, /) -> bool:
        """Tell at start-up whether a type can be made, without making it."""
        ...


def nothing_provides(kind: Any, cure: str) -> DependencyNotFound:
    """Return the error for a type, or what it is called, that a container does not know."""
    return DependencyNotFound(f"nothing provides {kind if isinstance(kind, str) else label(kind)}; {cure}")


def label(kind: Any) -> str:
    """Return what a type is called in errors."""
    return getattr(kind, "__qualname__", repr(kind))
