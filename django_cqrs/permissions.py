"""Who acts here, and what they may: ``permission=`` of messages, asked of Django's users."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from attrs import frozen

from django_cqrs.errors import NotPermitted
from simplecqrs.ambient import context
from simplecqrs.dispatch import stack, top
from simplecqrs.messages import Message, Permission

__all__ = ["acting", "acting_as", "acting_as_system", "acting_user", "permission_name", "permits"]


@frozen(eq=False)
class _Actor:
    """Somebody, from a place on a thread's stack of messages on; ``user`` None: the system."""

    user: Callable[[], Any] | None
    frames: list[Any]
    depth: int


_actor: ContextVar[_Actor | None] = ContextVar("django_cqrs_actor", default=None)


@contextmanager
def acting_as(
    user: Any, *, tenant: str | None = None, correlation_id: str | None = None
) -> Generator[None, None, None]:
    """
    Let a user act: what is sent inside is checked against it, and says in its headers who caused it.

    Args:
        user: one of Django's, or whatever has ``has_perm``.
        tenant: the header of that name.
        correlation_id: shared by all that is sent inside.
    """
    key = getattr(user, "pk", None)
    headers = {"user": None if key is None else str(key), "tenant": tenant}
    given = {name: value for name, value in headers.items() if value is not None}
    with context(correlation_id=correlation_id, **given), acting(lambda: user):
        yield


@contextmanager
def acting_as_system() -> Generator[None, None, None]:
    """Let no user act, but the project itself, which may do anything: commands of ``manage.py``, tasks, scripts."""
    with acting(None):
        yield


@contextmanager
def acting(user: Callable[[], Any] | None) -> Generator[None, None, None]:
    """
    Let somebody act.

    Args:
        user: returns who, asked whenever that is needed; None: the system.
    """
    frames = stack.frames
    token = _actor.set(_Actor(user, frames, len(frames)))
    try:
        yield
    finally:
        _actor.reset(token)


def acting_user() -> Any | None:
    """
    Return the user who acts here, never one that a message only names; None: the system acts, or nobody.

    A user who is not logged in is nobody.
    """
    actor = _actor.get()
    if actor is None or actor.user is None or _is_systems(actor):
        return None
    user = actor.user()
    return user if getattr(user, "is_authenticated", user is not None) else None


def permits(message: Message, needed: Permission) -> None:
    """
    See to it that a message may be given by who acts here.

    Raises:
        NotPermitted: if not.
    """
    actor = _actor.get()
    if (actor is not None and actor.user is None) or _is_systems(actor):
        return
    what = f"{type(message).__qualname__} needs the permission {permission_name(needed)}"
    user = acting_user()
    if user is None:
        raise NotPermitted(
            f"{what}, and nobody acts here: nobody is logged in, or MIDDLEWARE lacks 'django_cqrs.middlewares.acting'; "
            "outside of requests, send it inside of `with acting_as(user):` or `with acting_as_system():`"
        )
    if not (needed(user, message) if callable(needed) else user.has_perm(needed)):
        raise NotPermitted(f"{what}, which the user {getattr(user, 'pk', user)} has not")


def permission_name(needed: Permission) -> str:
    """Name a permission for people."""
    return repr(needed) if isinstance(needed, str) else getattr(needed, "__qualname__", repr(needed))


def _is_systems(actor: _Actor | None) -> bool:
    """
    Tell whether what goes on here was begun by the project itself: out of an inbox, or as the step of a saga.

    Who was asked to act inside of that comes first.
    """
    frames = stack.frames
    depth = actor.depth if actor is not None and actor.frames is frames else 0
    return any(_is_begun_by_system(index) for index in range(depth, len(frames)))


def _is_begun_by_system(index: int) -> bool:
    from simplecqrs.saga.run_step import RunStep  # which few need

    dispatch = top(stack.frames, index)
    return isinstance(dispatch.message, RunStep) or (dispatch.parent is None and dispatch.metadata.received)
