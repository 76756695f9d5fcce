"""A container that is a mapping of types to factories: enough for most."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

from attrs import frozen

from simplecqrs.containers.port import Resolve, label, nothing_provides
from simplecqrs.errors import DependencyNotFound
from simplecqrs.hints import hints_of, is_async

__all__ = ["Provider"]


@frozen
class _Plan:
    make: Callable[..., Any]
    needs: Mapping[str, Any]
    is_generator: bool


class Provider:
    """
    Make dependencies by a mapping of types to factories.

    Args:
        provide: a factory per type.  A factory may take other provided types as parameters, by their type hints,
            and may be a generator: what follows its ``yield`` runs when the scope ends, and sees the exception.

    Raises:
        DependencyNotFound: at once, if a factory needs a type that nothing provides, or needs what it makes.
    """

    def __init__(self, provide: Mapping[Any, Callable[..., object]]) -> None:
        self._plans = {kind: _plan(kind, factory) for kind, factory in provide.items()}
        for kind in self._plans:
            self._refuse_missing(kind, ())

    def _refuse_missing(self, kind: Any, above: tuple[Any, ...]) -> None:
        if kind in above:
            circle = " -> ".join(map(label, (*above[above.index(kind) :], kind)))
            raise DependencyNotFound(f"provide: these factories need each other: {circle}; one must do without")
        for name, need in self._plans[kind].needs.items():
            if isinstance(need, str):
                raise DependencyNotFound(
                    f"the factory of {label(kind)}: the type {need!r} of {name} cannot be found in its module; import "
                    "it there"
                )
            if need not in self._plans:
                raise DependencyNotFound(
                    f"the factory of {label(kind)} needs {name}: {label(need)}, which nothing provides; "
                    + self.how_to_provide(label(need))
                )
            self._refuse_missing(need, (*above, kind))

    def can_resolve(self, kind: Any, /) -> bool:
        """Tell whether there is a factory for a type."""
        return kind in self._plans

    def how_to_provide(self, name: str, /) -> str:
        """Say how a type would be provided."""
        return f"add it: provide={{{name}: ...}}"

    @contextmanager
    def scope(self) -> Generator[Resolve, None, None]:
        """Open a scope in which each type is made at most once."""
        made: dict[Any, Any] = {}
        with ExitStack() as exits:

            def resolve(kind: Any) -> Any:
                if kind not in made:
                    made[kind] = self._make(kind, resolve, exits)
                return made[kind]

            yield resolve

    def _make(self, kind: Any, resolve: Resolve, exits: ExitStack) -> Any:
        try:
            plan = self._plans[kind]
        except KeyError:
            raise nothing_provides(kind, self.how_to_provide(label(kind))) from None
        value = plan.make(**{name: resolve(need) for name, need in plan.needs.items()})
        return exits.enter_context(value) if plan.is_generator else value


def _plan(kind: Any, factory: Callable[..., object]) -> _Plan:
    if not callable(factory):
        raise DependencyNotFound(
            f"provide: {label(kind)} is given {factory!r}, which is not callable; write lambda: ... to give always "
            "the same object"
        )
    if is_async(factory):
        raise DependencyNotFound(f"provide: the factory of {label(kind)} is async; factories are plain functions")
    hints = hints_of(factory)
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except ValueError:  # some builtins have no signature; they are called without arguments
        parameters = []
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for parameter in required:
        if parameter.name not in hints:
            raise DependencyNotFound(
                f"the factory of {label(kind)}: its parameter {parameter.name} has no type; dependencies are found by "
                "type"
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise DependencyNotFound(
                f"the factory of {label(kind)}: its parameter {parameter.name} is positional-only; dependencies are "
                "given by name"
            )
    is_generator = inspect.isgeneratorfunction(factory)
    make = contextmanager(cast("Callable[..., Generator[Any, None, None]]", factory)) if is_generator else factory
    return _Plan(make, {p.name: hints[p.name] for p in required}, is_generator)
