"""Which provider of dependency-injector makes which type."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from simplecqrs.hints import hints_of, is_async

if TYPE_CHECKING:
    from dependency_injector.containers import Container

__all__ = ["library", "providers_by_type", "providers_of"]


def providers_by_type(container: Container) -> dict[Any, list[Any]]:
    """Map types to the providers that are said to make them, those of nested containers included."""
    found: dict[Any, dict[Any, Any]] = {}
    for provider in _named(container):
        kind = _made_by(provider)
        if _is_telling(kind):
            found.setdefault(kind, {}).setdefault(_source(provider), provider)
    return {kind: list(providers.values()) for kind, providers in found.items()}


def providers_of(kind: Any, by_type: Mapping[Any, list[Any]]) -> list[Any]:
    """Return the providers of exactly this type, else those of classes derived from it."""
    if kind in by_type:
        return by_type[kind]
    if kind is object:
        return []
    derived = [cls for cls in by_type if isinstance(cls, type) and kind in cls.__mro__]
    return list(dict.fromkeys(provider for cls in derived for provider in by_type[cls]))


def _named(container: Any) -> Iterator[Any]:
    """Walk what a container names, before what its nested containers name."""
    nested: list[Any] = []
    for provider in container.providers.values():
        if isinstance(provider, library().Container):
            nested.append(provider.container)
        else:
            yield provider
    for inner in nested:
        yield from _named(inner)


def library() -> Any:
    """Return the module of providers, whose types are not told in full."""
    import dependency_injector.providers

    return dependency_injector.providers


def _source(provider: Any) -> Any:
    """Return what a nested container was given for what it depends on."""
    while isinstance(provider, library().Dependency) and provider.last_overriding is not None:
        provider = provider.last_overriding
    return provider


def _made_by(provider: Any) -> Any:
    providers = library()
    if isinstance(provider, providers.Dependency):
        kind: Any = provider.instance_of
        source = _source(provider)
        return _made_by(source) if kind is object and source is not provider else kind
    if isinstance(provider, providers.BaseResource):
        return _yielded(provider.provides)
    if isinstance(provider, (providers.Factory, providers.BaseSingleton, providers.Callable)):
        return _returned(provider.provides)
    if type(provider) is providers.Object:
        value: object = provider.provides
        return type(value)
    return None


def _returned(made: Any) -> Any:
    if inspect.isclass(made):
        return made
    if made is None or isinstance(made, library().Provider) or is_async(made):
        return None
    return hints_of(made).get("return")


def _yielded(made: Any) -> Any:
    """Return what a resource is: what its function yields, what its class's ``init`` returns, or the object itself."""
    if inspect.isclass(made):
        init: Any = getattr(made, "init", None)
        return hints_of(init).get("return") if init and hasattr(made, "shutdown") else made
    hint = _returned(made)
    if typing.get_origin(hint) in (Iterator, Iterable, Generator, AbstractContextManager):
        return typing.get_args(hint)[0]
    return hint


def _is_telling(kind: Any) -> bool:
    """Tell whether a type says what an object is for; every second setting is a ``str``."""
    if kind is None or kind is Any or isinstance(kind, (str, typing.TypeVar)):
        return False
    return getattr(kind, "__module__", "") != "builtins"
