"""A registry of svcs as a container."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from simplecqrs.containers.port import Resolve, label, nothing_provides
from simplecqrs.errors import MissingExtra

if TYPE_CHECKING:
    from svcs import Registry

__all__ = ["SvcsContainer"]


class SvcsContainer:
    """
    Make dependencies by a ``svcs.Registry``: a scope is a ``svcs.Container``.

    Factories do not see the exception, unless they are registered with ``suppress_context_exit=False``; what they
    raise while they clean up is logged by svcs and goes no further.

    svcs notes a generator before it runs: what it asks the container for is closed before it.  Ask in a plain
    function, and return a context manager::

        def users(container: svcs.Container) -> AbstractContextManager[Users]:
            return open_users(container.get(Session))

    Raises:
        MissingExtra: if svcs is not installed.
    """

    def __init__(self, registry: Registry) -> None:
        try:
            import svcs
        except ImportError:
            raise MissingExtra("SvcsContainer", "svcs") from None
        self._registry = registry
        self._open = svcs.Container
        self._unknown = svcs.exceptions.ServiceNotFoundError

    def can_resolve(self, kind: Any, /) -> bool:
        """Tell whether the registry has a type; what its factory asks for is not known before it runs."""
        return kind in self._registry

    def how_to_provide(self, name: str, /) -> str:
        """Say how a type would be provided."""
        return f"register it: registry.register_factory({name}, ...)"

    @contextmanager
    def scope(self) -> Generator[Resolve, None, None]:
        """Open a container of svcs."""
        with self._open(self._registry) as container:

            def resolve(kind: Any) -> Any:
                try:
                    return container.get(kind)
                except self._unknown as error:  # perhaps what a factory asks for
                    missing = error.args[0] if error.args else kind
                    raise nothing_provides(missing, self.how_to_provide(label(missing))) from error

            yield resolve
