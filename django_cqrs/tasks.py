"""
The Celery tasks: ticks of relay and consumers.

Schedule them with beat, on a queue of their own::

    CELERY_BEAT_SCHEDULE = {
        "cqrs-relay": {"task": "django_cqrs.relay", "schedule": 1.0, "options": {"queue": "cqrs", "expires": 5}},
        "cqrs-consume": {"task": "django_cqrs.consume", "schedule": 1.0, "options": {"queue": "cqrs", "expires": 5}},
        "cqrs-purge": {"task": "django_cqrs.purge", "schedule": 3600.0, "options": {"queue": "cqrs", "expires": 600}},
    }

Overlapping ticks are safe: one that finds every lane taken returns at once.  Consumers whose ``engine`` is
``celery`` are also rung for as soon as there is work for them, so that beat may come less often.
"""

from __future__ import annotations

import time
from typing import Any

from simplecqrs.errors import MissingExtra

try:
    from celery import _state, current_app, shared_task
except ImportError as error:
    raise MissingExtra("django_cqrs.tasks", "celery") from error

from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names, consumers
from django_cqrs.doorbells import doorbells
from django_cqrs.loops import run
from django_cqrs.mediator import project_mediator
from django_cqrs.promotion import promoters
from django_cqrs.purging import purge as forget
from django_cqrs.relay import aliases, relays

__all__ = ["consume", "purge", "relay", "ring"]

#: Seconds after which a doorbell that nobody answered is forgotten.
EXPIRES = 5.0


@shared_task(name="django_cqrs.relay", ignore_result=True, max_retries=0)
def relay(*routes: str) -> None:
    """Promote what is due and ship what waits in the outbox, for at most RELAY_TICK_SECONDS."""
    run([*promoters(), *relays(routes=routes)], seconds=settings().relay_tick_seconds, drain=True)


@shared_task(name="django_cqrs.consume", ignore_result=True, max_retries=0)
def consume(*names: str) -> None:
    """Fetch and handle what waits for these consumers, or all, for at most RELAY_TICK_SECONDS."""
    seconds = settings().relay_tick_seconds
    ends = time.monotonic() + seconds
    jobs = consumers(*names, stopping=lambda: time.monotonic() > ends)
    with doorbells.answering(names or consumer_names(project_mediator())):
        run(jobs, seconds=seconds, drain=True)


def ring(consumer: str) -> None:
    """
    Ask Celery's workers, once, to look what waits for a consumer.

    It carries no data: who comes late finds nothing to do.  Consumers whose ``engine`` is ``celery`` are rung for
    after each commit that put work into their inbox, on the queue CELERY_QUEUE.
    """
    task = _app().tasks["django_cqrs.consume"]
    task.apply_async(args=(consumer,), queue=settings().celery_queue, expires=EXPIRES, ignore_result=True, retry=False)


def _app() -> Any:
    """Return the project's app; what Celery calls the current one is nobody's in a thread that did not make it."""
    state: Any = _state
    apps = [app for app in state._get_active_apps() if app.set_as_current]
    return apps[0] if len(apps) == 1 else current_app


@shared_task(name="django_cqrs.purge", ignore_result=True, max_retries=0)
def purge(seconds: float = 60.0) -> None:
    """Forget ids that consumers have seen more than SEEN_DAYS ago, for at most so many seconds an alias."""
    for alias in aliases():
        forget(alias, seconds=seconds)
