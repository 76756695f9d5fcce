"""A container of dependency-injector as ours."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from simplecqrs.containers.dependency_injector_types import library, providers_by_type, providers_of
from simplecqrs.containers.port import Resolve, label, nothing_provides
from simplecqrs.errors import DependencyNotFound, MissingExtra

if TYPE_CHECKING:
    from dependency_injector.containers import Container
    from dependency_injector.providers import Provider

__all__ = ["DependencyInjectorContainer"]


class DependencyInjectorContainer:
    """
    Make dependencies by a container of dependency-injector, which finds providers by name, and here by type.

    A provider makes its class, what its function is said to return, or ``instance_of``; a type that none makes is
    made by the provider of a class derived from it.  Overridden providers are overridden here too.

    A scope has objects of its own for every ``ContextLocalSingleton`` and ``ContextLocalResource``, opened when they
    are asked for and closed at its end, without the exception.  Other providers do as they do elsewhere: a
    ``Singleton`` or a ``Resource`` lives as long as the container.  Providers run in a copy of the scope's
    ``contextvars`` context.

    Args:
        by_type: a provider per type, where the types do not tell, or several providers make the same.

    Raises:
        MissingExtra: if dependency-injector is not installed.
    """

    def __init__(self, container: Container, *, by_type: Mapping[Any, Provider[Any]] | None = None) -> None:
        try:
            self._providers = library()
        except ImportError:
            raise MissingExtra("DependencyInjectorContainer", "dependency-injector") from None
        chosen = {kind: [provider] for kind, provider in (by_type or {}).items()}
        self._by_type = {**providers_by_type(container), **chosen}

    def can_resolve(self, kind: Any, /) -> bool:
        """Tell whether one provider makes a type, and has all that it depends on."""
        providers = self._providers
        try:
            provider = self._provider(kind)
        except DependencyNotFound:
            return False
        abstract = (providers.AbstractFactory, providers.AbstractSingleton, providers.AbstractCallable)
        for needed in providers.traverse(provider):
            if isinstance(needed, providers.Dependency) and not needed.is_defined:
                return False
            if isinstance(needed, abstract) and not needed.overridden:
                return False
        return True

    def how_to_provide(self, name: str, /) -> str:
        """Say how a type would be provided."""
        return f"add a provider that makes it, or name the one to take: by_type={{{name}: container.<name>}}"

    def _provider(self, kind: Any) -> Any:
        found = providers_of(kind, self._by_type)
        if not found:
            raise nothing_provides(kind, self.how_to_provide(label(kind)))
        if len(found) > 1:
            raise DependencyNotFound(
                f"{len(found)} providers make {label(kind)}; name the one to take: by_type={{{label(kind)}: ...}}"
            )
        return found[0]

    @contextmanager
    def scope(self) -> Generator[Resolve, None, None]:
        """Open a scope in which what is local to a context is made anew."""
        scope = _Scope(self._providers)
        try:
            yield lambda kind: scope.make(self._provider(kind))
        finally:
            scope.run(scope.exits.close)


class _Scope:
    """A context of its own, so that scopes of one thread share nothing either."""

    def __init__(self, providers: Any) -> None:
        self._providers = providers
        self._context = copy_context()
        self._is_inside = False
        self._local: dict[Any, None] = {}
        self.exits = ExitStack()

    def run(self, call: Callable[[], Any]) -> Any:
        if self._is_inside:  # a provider that asks for another one; a context cannot be entered twice
            return call()
        self._is_inside = True
        try:
            return self._context.run(call)
        finally:
            self._is_inside = False

    def make(self, provider: Any) -> Any:
        return self.run(lambda: self._make(provider))

    def _make(self, provider: Any) -> Any:
        providers = self._providers
        local = (providers.ContextLocalSingleton, providers.ContextLocalResource)
        new = [needed for needed in providers.traverse(provider, types=local) if needed not in self._local]
        self._local.update(dict.fromkeys(new))
        for needed in new:  # what the context outside has made stays there
            needed.reset() if isinstance(needed, providers.ContextLocalSingleton) else needed.reset_state()
        try:
            return provider()
        finally:
            resources = [needed for needed in new if isinstance(needed, providers.ContextLocalResource)]
            for opened in sorted(resources, key=_height):
                self.exits.callback(opened.shutdown)  # nothing happens to one that was not opened after all


def _height(resource: Any) -> int:
    """Count all that a resource depends on: more than anything that it depends on does."""
    return sum(1 for _ in library().traverse(resource))
