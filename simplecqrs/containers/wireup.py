"""A container of wireup as ours."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from simplecqrs.containers.port import Resolve, label, nothing_provides
from simplecqrs.errors import MissingExtra

if TYPE_CHECKING:
    from wireup import SyncContainer

__all__ = ["WireupContainer"]


class WireupContainer:
    """
    Make dependencies by a ``wireup.SyncContainer``: a scope is what ``enter_scope`` opens.

    Raises:
        MissingExtra: if wireup is not installed.
    """

    def __init__(self, container: SyncContainer) -> None:
        try:
            import wireup
            from wireup.errors import UnknownServiceRequestedError, WireupError
        except ImportError:
            raise MissingExtra("WireupContainer", "wireup") from None
        self._container = container
        self._inject = wireup.inject_from_container
        self._marker = wireup.Inject
        self._unknown = UnknownServiceRequestedError
        self._error = WireupError

    def can_resolve(self, kind: Any, /) -> bool:
        """Tell whether wireup would inject a type; it has checked what the factory needs."""

        def probe(dependency: Any) -> None: ...

        probe.__annotations__ = {"dependency": Annotated[kind, self._marker()]}
        try:
            self._inject(self._container)(probe)  # refuses what is unknown, and calls nothing
        except self._error:
            return False
        return True

    def how_to_provide(self, name: str, /) -> str:
        """Say how a type would be provided."""
        return f"register a factory that returns {name} among the injectables of the wireup container"

    @contextmanager
    def scope(self) -> Generator[Resolve, None, None]:
        """Open a scope of wireup."""
        with self._container.enter_scope() as scope:

            def resolve(kind: Any) -> Any:
                try:
                    return scope.get(kind)
                except self._unknown as error:
                    if self.can_resolve(kind):  # its factory asked for something else, which the error names
                        raise nothing_provides(f"what {label(kind)} needs", str(error)) from error
                    raise nothing_provides(kind, self.how_to_provide(label(kind))) from error

            yield resolve
