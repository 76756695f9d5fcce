"""
The Celery tasks: ticks of relay and consumers, and the doorbell.

Schedule them with beat, on a queue of their own::

    CELERY_BEAT_SCHEDULE = {
        "cqrs-relay": {"task": "django_cqrs.relay", "schedule": 1.0, "options": {"queue": "cqrs", "expires": 5}},
        "cqrs-consume": {"task": "django_cqrs.consume", "schedule": 1.0, "options": {"queue": "cqrs", "expires": 5}},
        "cqrs-sagas": {"task": "django_cqrs.recover_sagas", "schedule": 5.0, "options": {"queue": "cqrs"}},
        "cqrs-purge": {"task": "django_cqrs.purge", "schedule": 3600.0, "options": {"queue": "cqrs", "expires": 600}},
    }

Overlapping ticks are safe: one that finds every lane taken returns at once.  Consumers whose ``engine`` is
``celery`` are rung for as soon as there is work for them, and again by the relay when it is overdue; they need no
``django_cqrs.consume`` in the schedule.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any

from simplecqrs.errors import MissingExtra, NotConfigured

try:
    from celery import _state, current_app, shared_task
except ImportError as error:
    raise MissingExtra("django_cqrs.tasks", "celery") from error

from django_cqrs import ticks
from django_cqrs.conf import settings

__all__ = ["check", "consume", "purge", "recover_sagas", "relay", "ring"]

#: Seconds after which a doorbell that nobody answered is forgotten.
EXPIRES = 5.0
#: Seconds that each step towards Celery's broker may take.
TIMEOUT = 1.0
#: The same in the words of Redis and of AMQP; where neither is told, kombu would try for ever.
LIMITS = {
    "max_retries": 0, "socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "retry_on_timeout": False,
    "read_timeout": TIMEOUT, "write_timeout": TIMEOUT,
}  # fmt: skip

_here = threading.local()


@shared_task(name="django_cqrs.relay", ignore_result=True, max_retries=0)
def relay(*routes: str) -> None:
    """Promote what is due, ship what waits, ring for what is overdue, for at most RELAY_TICK_SECONDS."""
    ticks.relay(*routes)


@shared_task(name="django_cqrs.consume", ignore_result=True, max_retries=0)
def consume(*names: str) -> None:
    """Handle what waits for these consumers, or fetch and handle for all, for at most RELAY_TICK_SECONDS."""
    ticks.consume(*names)


@shared_task(name="django_cqrs.recover_sagas", ignore_result=True, max_retries=0)
def recover_sagas(saga: str | None = None, limit: int | None = None) -> None:
    """Take over sagas that nobody works on and that are due, and run them on; all, or those of one name."""
    ticks.recover_sagas(saga=saga, limit=limit)


@shared_task(name="django_cqrs.purge", ignore_result=True, max_retries=0)
def purge(seconds: float = 60.0) -> None:
    """Forget what is older than SEEN_DAYS and its like say, and trim streams, each for so many seconds."""
    ticks.purge(seconds)


def ring(consumer: str) -> None:
    """
    Ask Celery's workers, once, to look what waits for a consumer.

    It carries no data: who comes late finds nothing to do.  Consumers whose ``engine`` is ``celery`` are rung for
    after each commit that put work into their inbox, on the queue CELERY_QUEUE.

    Raises:
        NotConfigured: if this process has no Celery app.
        Exception: what Celery's broker raises, or the lack of one, within seconds.
    """
    app = _app()
    kept = _kept(app)
    if kept is not None:
        try:
            _send(app, consumer, kept)
            return
        except Exception:  # noqa: BLE001 - it was idle, and its server may have closed it; a new one tells
            _drop(kept)
    connection = app.connection_for_write(connect_timeout=TIMEOUT, transport_options=LIMITS)
    try:
        _send(app, consumer, connection)
    except BaseException:
        _drop(connection)
        raise
    _here.kept = (os.getpid(), app, connection)


def check() -> None:
    """Raise NotConfigured if this process could not ring."""
    _app()


def _send(app: Any, consumer: str, connection: Any) -> None:
    app.tasks["django_cqrs.consume"].apply_async(
        args=(consumer,), queue=settings().celery_queue, expires=EXPIRES, ignore_result=True, retry=False,
        connection=connection,
    )  # fmt: skip


def _kept(app: Any) -> Any:
    """Return the connection of this thread's last ring; one of before a fork, or of another app, is not ours."""
    owner, of, connection = getattr(_here, "kept", (0, None, None))
    return connection if owner == os.getpid() and of is app else None


def _drop(connection: Any) -> None:
    """Close a connection without waiting for the answer of whoever may be gone."""
    _here.kept = (0, None, None)
    with suppress(Exception):
        connection.collect(socket_timeout=TIMEOUT)


def _app() -> Any:
    """Return the project's app; what Celery calls the current one is nobody's in a thread that did not make it."""
    state: Any = _state
    apps = [app for app in state._get_active_apps() if app.set_as_current]
    if not apps:
        raise NotConfigured(
            "this process has no Celery app; let the project's __init__.py import it, as Celery's documentation says"
        )
    return apps[0] if len(apps) == 1 else current_app
