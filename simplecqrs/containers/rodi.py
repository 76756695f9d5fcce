"""The services of rodi as a container."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from simplecqrs.containers.port import Resolve, label, nothing_provides
from simplecqrs.errors import MissingExtra

if TYPE_CHECKING:
    from rodi import Container

__all__ = ["RodiContainer"]


class RodiContainer:
    """
    Make dependencies by a ``rodi.Container``: a scope is what ``create_scope`` opens.

    rodi cleans up nothing, so a scope has an ``ExitStack`` that factories take from its services::

        def session(scope: rodi.ActivationScope) -> Session:
            return scope.scoped_services[ExitStack].enter_context(open_session())

    Args:
        container: its services are built here; what is added later is not seen.

    Raises:
        MissingExtra: if rodi is not installed.
    """

    def __init__(self, container: Container) -> None:
        try:
            import rodi
        except ImportError:
            raise MissingExtra("RodiContainer", "rodi") from None
        self._services: Any = container.build_provider()  # what it takes is not typed in full
        self._unknown = rodi.CannotResolveTypeException

    def can_resolve(self, kind: Any, /) -> bool:
        """Tell whether there is a service of a type; what a factory asks its scope for is not known before it runs."""
        return kind in self._services

    def how_to_provide(self, name: str, /) -> str:
        """Say how a type would be provided."""
        return f"add it: container.add_scoped({name})"

    @contextmanager
    def scope(self) -> Generator[Resolve, None, None]:
        """Open a scope of rodi, with an exit stack in it."""
        with ExitStack() as exits, self._services.create_scope({ExitStack: exits}) as scope:

            def resolve(kind: Any) -> Any:
                try:
                    return scope.get(kind)
                except self._unknown as error:
                    if self.can_resolve(kind):  # its factory asked for something else, which the error names
                        raise nothing_provides(f"what {label(kind)} needs", str(error)) from error
                    raise nothing_provides(kind, self.how_to_provide(label(kind))) from error

            yield resolve
