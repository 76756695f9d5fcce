"""The Celery app of the benchmarks, and how a handler or a task tells that it has begun."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import redis
from celery import Celery, shared_task

__all__ = ["BEGUN", "app", "began", "note"]

#: Where Celery's queues are, a database of Redis that nobody else uses, and the list of what has begun.
URL, BEGUN = os.environ["CQRS_BENCH_CELERY"], "begun"

app = Celery("benchmarks", broker=URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, worker_hijack_root_logger=False)
app.autodiscover_tasks(["django_cqrs"])


@cache
def client() -> Any:
    """Open a connection of each process's own."""
    return redis.Redis.from_url(URL)


def began(number: int) -> None:
    """Tell that a message is being handled, and when it began."""
    now = time.monotonic()
    client().rpush(BEGUN, f"{number} {now!r}")


@shared_task(queue="bare")
def note(number: int) -> None:
    """Do what the handler does, as a task of Celery's own."""
    began(number)
