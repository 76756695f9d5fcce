"""
Django's tasks as the engine: the doorbell, and the task that answers it.

Consumers whose ``engine`` is ``django-tasks`` are rung for by the backend TASKS_BACKEND, on the queue TASKS_QUEUE.
Django has no beat, so ``cqrs_relay`` has to run beside its workers, as a daemon or every minute as
``cqrs_relay --drain``: it promotes what is due, and rings for what is overdue.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import django
from django.db import close_old_connections

from django_cqrs import ticks
from django_cqrs.conf import settings
from simplecqrs.errors import MissingExtra, NotConfigured

try:
    framework: Any = import_module("django.tasks" if django.VERSION >= (6, 0) else "django_tasks")
except ImportError as error:
    raise MissingExtra("the engine 'django-tasks' on a Django before 6.0", "tasks") from error

__all__ = ["check", "consume", "ring"]


def _of_project(function: Any) -> Any:
    """Make a task of a function, of the project's backend and queue."""
    found = settings()
    try:
        return framework.task(backend=found.tasks_backend, queue_name=found.tasks_queue)(function)
    except Exception as error:
        raise NotConfigured(
            f"TASKS_BACKEND={found.tasks_backend!r} with TASKS_QUEUE={found.tasks_queue!r} cannot be used: {error}; "
            "both have to be in the setting TASKS"
        ) from error


@_of_project
def consume(consumer: str) -> None:
    """Handle what waits for a consumer, for at most RELAY_TICK_SECONDS."""
    ticks.consume(consumer)


def check() -> None:
    """Do nothing: what could be wrong was, when this was imported."""


def ring(consumer: str) -> None:
    """Ask Django's task workers, once, to look what waits for a consumer; it carries no data."""
    close_old_connections()  # many a backend is a table, and this is a thread that no request tidies up
    try:
        consume.enqueue(consumer)
    finally:
        close_old_connections()
