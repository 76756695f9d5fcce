"""Engines: what starts the workers of consumers, besides the daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from django.utils.module_loading import import_string

from django_cqrs.entries import Settings
from django_cqrs.entry_fields import DAEMON
from simplecqrs.errors import CQRSError

__all__ = ["Ring", "problems_of", "ring"]

#: Asks an engine's workers to call ``django_cqrs.ticks.consume`` with the name of a consumer, soon.
#: It bears no data and may be lost; it may raise whatever it likes, and is called in a thread of its own.
Ring = Callable[[str], object]
#: The modules of the engines that have names; each has a ``ring``, and a ``check`` that raises if it could not ring.
MODULES = {"celery": "django_cqrs.tasks", "django-tasks": "django_cqrs.django_tasks"}


def ring(engine: str, consumer: str) -> None:
    """
    Ask an engine's workers, once, to look what waits for a consumer.

    Raises:
        CQRSError: if the engine is not installed, or not configured.
    """
    if engine != DAEMON:  # which looks by itself
        _find(engine)(consumer)


def _find(engine: str) -> Ring:
    if engine in MODULES:
        module: Any = import_module(MODULES[engine])
        found: Ring = module.ring
        return found
    return import_string(engine)  # type: ignore[no-any-return]


def problems_of(found: Settings) -> Iterator[str]:
    """Say which consumers' engines cannot ring, and why."""
    for name, consumer in found.consumers.items():
        try:
            if consumer.engine in MODULES:
                import_module(MODULES[consumer.engine]).check()
            elif consumer.engine != DAEMON and not callable(_find(consumer.engine)):
                yield f"CONSUMERS[{name!r}]: the engine {consumer.engine!r} is no function that takes a consumer's name"
        except (CQRSError, ImportError) as error:
            yield f"CONSUMERS[{name!r}]: the engine {consumer.engine!r} cannot ring: {error}"
