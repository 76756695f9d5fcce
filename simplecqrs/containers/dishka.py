"""A container of dishka as ours."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from simplecqrs.containers.port import Resolve, label, nothing_provides
from simplecqrs.errors import MissingExtra

if TYPE_CHECKING:
    from dishka import Container

__all__ = ["DishkaContainer"]


class DishkaContainer:
    """
    Make dependencies by a ``dishka.Container``: a scope is the next one below it, by default ``Scope.REQUEST``.

    Factories are given the exception, ``error = yield session``; dishka does not throw it.

    Args:
        container: what ``dishka.make_container`` returns.

    Raises:
        MissingExtra: if dishka is not installed.
    """

    def __init__(self, container: Container) -> None:
        try:
            import dishka
            from dishka.exceptions import NoFactoryError
        except ImportError:
            raise MissingExtra("DishkaContainer", "dishka") from None
        self._container = container
        self._component = dishka.DEFAULT_COMPONENT
        self._key = dishka.DependencyKey
        self._unknown = NoFactoryError

    def can_resolve(self, kind: Any, /) -> bool:
        """Tell whether a scope has a factory for a type; dishka has checked what the factory needs."""
        key = self._key(kind, self._component)
        with self._container() as opened:  # which makes nothing
            scope: Any = opened
            while scope is not None:
                if scope.registry.get_factory(key) is not None:
                    return True
                scope = scope.parent_container
        return False

    def how_to_provide(self, name: str, /) -> str:
        """Say how a type would be provided."""
        return f"add it to a dishka.Provider: provider.provide(..., provides={name}, scope=Scope.REQUEST)"

    @contextmanager
    def scope(self) -> Generator[Resolve, None, None]:
        """Open the next scope."""
        with self._container() as container:

            def resolve(kind: Any) -> Any:
                try:
                    return container.get(kind)
                except self._unknown as error:
                    missing = error.requested.type_hint
                    raise nothing_provides(missing, self.how_to_provide(label(missing))) from error

            yield resolve
