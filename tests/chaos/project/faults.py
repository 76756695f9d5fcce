"""What is to go wrong, as the environment says: delays, failing handlers, faults for the checker to find."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from django.db import transaction

from tests.chaos.project.mutations import MUTATIONS
from tests.chaos.project.way import WAY, watch_ports

__all__ = ["FAULT", "FOLDER", "at", "dawdle", "fails", "install", "linger"]

#: One of no_lane_lock, acknowledge_first, accept_first, or of MUTATIONS; empty: none.
FAULT = os.environ.get("CHAOS_FAULT", "")
FAIL_RATE = float(os.environ.get("CHAOS_FAIL", "0"))
SLOW = float(os.environ.get("CHAOS_SLOW", "0"))
FOLDER = Path(os.environ.get("CHAOS_FOLDER", "/nonexistent"))
_seen: set[str] = set()


def at(point: str) -> None:
    """Leave a mark that this process has come here, and dwell as long as CHAOS_DWELL_<POINT> says; or die."""
    if point not in _seen and FOLDER.is_dir():
        _seen.add(point)
        (FOLDER / f"{point}-{os.getpid()}").touch()
    seconds = float(os.environ.get(f"CHAOS_DWELL_{point.upper()}", "0"))
    if seconds:
        time.sleep(seconds)
    WAY.come_to(point)


def fails(message: object = None) -> None:
    """Fail at random, as often as CHAOS_FAIL says."""
    if FAIL_RATE and random.random() < FAIL_RATE:
        raise RuntimeError("a planted failure")


def linger(message: Any) -> None:
    """Take CHAOS_LONG seconds over a ``long`` key; end the process over a ``killer``; fail on ``toxic`` ones."""
    if message.key == "long":
        at("long")
        time.sleep(float(os.environ["CHAOS_LONG"]))
    if message.key == "killer":
        os._exit(7)
    if message.key == "toxic" and not (FOLDER / "healed").exists():
        raise ValueError("a message that nobody can handle")


def dawdle() -> None:
    """Take up to CHAOS_SLOW_SECONDS before the commit, in as many transactions as CHAOS_SLOW says."""
    if SLOW and random.random() < SLOW:
        time.sleep(random.uniform(0, float(os.environ["CHAOS_SLOW_SECONDS"])))


def install() -> None:
    """Watch the doors of the inboxes and the moves of the database broker, and plant the fault."""
    from django_cqrs.brokers import DatabaseBroker
    from django_cqrs.inbox import DjangoInbox

    if WAY.armed:
        watch_ports()
    _replace(DjangoInbox, "store", _watched)
    _replace(DatabaseBroker, "publish", _dwelling)
    if FAULT in MUTATIONS:
        MUTATIONS[FAULT]()
    if FAULT == "no_lane_lock":
        from django_cqrs.databases import PostgreSQL

        _replace(PostgreSQL, "lane_lock", _unlocked)


def _replace(owner: type[Any], name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


def _watched(store: Callable[..., Any]) -> Callable[..., Any]:
    """Write down, in the batch's own transaction, what had been seen before."""

    @wraps(store)
    def watched(self: Any, consumer: str, envelopes: Sequence[Any], **options: Any) -> Any:
        from tests.chaos.project.models import Door

        with transaction.atomic(using=self.alias):
            stored = store(self, consumer, envelopes, **options)
            if stored.seen:
                Door.objects.using(self.alias).create(consumer=consumer, new=stored.new, seen=stored.seen)
            at("store")
            return stored

    return watched


def _dwelling(publish: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(publish)
    def dwelling(self: Any, envelopes: Sequence[Any], *, deadline: float) -> Any:
        receipts = publish(self, envelopes, deadline=deadline)
        at("publish")
        return receipts

    return dwelling


def _unlocked(lane_lock: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(lane_lock)
    def unlocked(self: Any, place: Any, *, idle: float) -> tuple[str, list[Any]]:
        return "1 = 1", []

    return unlocked
