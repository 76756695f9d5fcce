"""A container of di as ours."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from simplecqrs.containers.port import Resolve, label, nothing_provides
from simplecqrs.errors import DependencyNotFound, MissingExtra
from simplecqrs.hints import is_async

if TYPE_CHECKING:
    from di import Container, ScopeState, SolvedDependent
    from di.api.dependencies import DependentBase

__all__ = ["DiContainer"]


class DiContainer:
    """
    Make dependencies by a ``di.Container``: what is bound, and classes that di can wire by the hints of ``__init__``.

    di would call anything that is a type, ``str()`` too; here abstract classes, protocols and builtins must be bound.
    What is bound is read when a type is first asked for.

    Args:
        scope: the scope that is opened, and that classes which are not bound belong to.
        state: scopes that are open already, outermost first; what belongs to them lives longer.

    Raises:
        MissingExtra: if di is not installed.
    """

    def __init__(self, container: Container, *, scope: Hashable = "request", state: ScopeState | None = None) -> None:
        try:
            import di
            from di.dependent import Dependent
            from di.exceptions import WiringError
        except ImportError:
            raise MissingExtra("DiContainer", "di") from None
        self._container = container
        self._scope = scope
        self._state = state if state is not None else di.ScopeState()
        self._dependent = Dependent
        self._unwired = (WiringError, NameError, TypeError, ValueError)
        self._plans: dict[Any, SolvedDependent[Any]] = {}

    def can_resolve(self, kind: Any, /) -> bool:
        """Tell whether a type, and all that it needs, is bound or can be wired."""
        try:
            self._plan(kind)
        except DependencyNotFound:
            return False
        return True

    def how_to_provide(self, name: str, /) -> str:
        """Say how a type would be provided."""
        return f"bind it: container.bind(bind_by_type(Dependent(..., scope={self._scope!r}), {name}))"

    @contextmanager
    def scope(self) -> Generator[Resolve, None, None]:
        """Open a scope of di."""
        with self._state.enter_scope(self._scope) as state:
            yield lambda kind: self._plan(kind).execute_sync(_InOrder(), state=state)

    def _plan(self, kind: Any) -> SolvedDependent[Any]:
        if kind not in self._plans:
            self._plans[kind] = self._solve(kind)
        return self._plans[kind]

    def _solve(self, kind: Any) -> SolvedDependent[Any]:
        asked: DependentBase[Any] = self._dependent(kind, scope=self._scope)
        try:
            plan = self._container.solve(asked, scopes=[*self._state.stacks, self._scope])
        except self._unwired as error:
            raise nothing_provides(kind, f"{self.how_to_provide(label(kind))}; di says: {error}") from error
        for made in plan.dag:
            if not _is_wired(made.call) or (made is asked and not inspect.isclass(kind)):
                raise nothing_provides(made.call, self.how_to_provide(label(made.call)))
            if made.call is not None and is_async(made.call):
                raise DependencyNotFound(f"{label(made.call)} is async; what di is to call here are plain functions")
        return plan


class _InOrder:
    """Does what the executor of di does, which needs anyio to be imported."""

    def execute_sync(self, tasks: Any, state: Any) -> None:
        for task in tasks.static_order():
            task.compute(state)


def _is_wired(call: Any) -> bool:
    """Tell whether a callable makes what it says, and is no mere type that nobody bound."""
    if not inspect.isclass(call):
        return True
    is_protocol = getattr(call, "_is_protocol", False)
    return not (is_protocol or inspect.isabstract(call) or call.__module__ == "builtins")
