"""The way that a process goes: it comes to points, in an order that can be written down, and can be killed at each."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from attrs import define, field

__all__ = ["WAY", "Way", "replace", "watch_ports", "watch_statements"]


@define
class Way:
    """
    The points that this process has come to.

    A point is named ``relay:done:after#2``: whose step, which call of a port, on which side of it, for the how-manieth
    time.  A step that found nothing to do does not count: how often that happens depends on the clock.  Points between
    which nothing was said to a server are one: to die at the second is to die at the first.

    Args:
        armed: the point at which the process kills itself.
        statements: each statement is a point as well.
    """

    armed: str = ""
    statements: bool = False
    role: str = ""
    passed: list[str] = field(factory=list)
    moved: bool = True
    _counts: Counter[str] = field(factory=Counter)

    def set_out(self, armed: str = "") -> None:
        """Begin anew, and die at this point."""
        self.armed, self.role, self.moved, self.passed, self._counts = armed, "", True, [], Counter()

    def come_to(self, point: str, *, last: Callable[[], object] = lambda: None) -> None:
        """Pass a point, or die there; what is to be done last is done before, and then only.  Outside of steps: no."""
        if not self.role:
            return
        name = f"{self.role}:{point}"
        self._counts[name] += 1
        passed = f"{name}#{self._counts[name]}"
        if self.moved:
            self.passed.append(passed)
            self.moved = False
        if passed == self.armed:
            last()
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        """Come to a point between two statements of one call, if these count."""
        if self.statements:
            self.come_to("statement:before")
        self.moved = True
        return execute(sql, *arguments)

    @contextmanager
    def step(self, role: str) -> Generator[list[object], None, None]:
        """Go a step of a role; give a list, and the step counts if something true is put into it."""
        before, counts, outer = len(self.passed), Counter(self._counts), self.role
        self.role, done = role, list[object]()
        try:
            yield done
        finally:
            self.role = outer
            if not any(done):
                del self.passed[before:]
                self._counts = counts


#: Calls that tell a server something by another way than a statement.
UNSEEN = ("commit", "fetch", "acknowledge")
#: Of this process, and of those that it forks.
WAY = Way(os.environ.get("CHAOS_CRASH", ""))


def watch_ports() -> None:
    """Let each call of a port, each handler and each commit be a point of the way."""
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_cqrs.brokers import DatabaseBroker
    from django_cqrs.held import HeldLanes
    from django_cqrs.inbox import DjangoInbox
    from django_cqrs.inspection import DjangoInspection
    from django_cqrs.mediator import DjangoMediator
    from django_cqrs.promotion import Promoter
    from django_cqrs.queue import DjangoStorage
    from simplecqrs.brokers.redis import RedisStreams
    from simplecqrs.brokers.redis_feed import RedisFeed
    from simplecqrs.consumer import Consumer
    from simplecqrs.fetcher import Fetcher
    from simplecqrs.relay import Relay

    watch_statements()
    for role, job in (("relay", Relay), ("fetcher", Fetcher), ("consumer", Consumer), ("promoter", Promoter)):
        _replace(job, "step", lambda step, role=role: _stepping(step, role))
    for port, calls in (
        (HeldLanes, ("read", "done", "park", "claim")),
        (DjangoStorage, ("append",)),
        (DjangoInbox, ("store", "bury")),
        (DjangoInspection, ("retry", "skip")),
        (DjangoMediator, ("receive",)),
        (RedisFeed, ("fetch", "acknowledge")),
        (BaseDatabaseWrapper, ("_commit",)),
    ):
        for call in calls:
            replace(port, call)
    for call in ("hold", "take", "take_first", "take_own"):
        _replace(DjangoStorage, call, lambda context, call=call: _entering(context, call))
    _replace(DjangoInbox, "fetching", lambda context: _entering(context, "fetching"))
    for broker in (DatabaseBroker, RedisStreams):
        _replace(broker, "publish", _publishing)


def watch_statements() -> None:
    """Let each statement be a point of the way, if these count."""
    from django.db.backends.signals import connection_created

    connection_created.connect(_watch_statements)


def replace(port: Any, call: str) -> None:
    """Let a call of a port be two points of the way: before it, and after it."""
    _replace(port, call, lambda function: _passing(function, call.lstrip("_")))


def _watch_statements(*, connection: Any, **_: object) -> None:
    if WAY.watch not in connection.execute_wrappers:
        connection.execute_wrappers.append(WAY.watch)


def _replace(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


def _stepping(step: Callable[..., Any], role: str) -> Callable[..., Any]:
    @wraps(step)
    def stepping(self: Any) -> Any:
        with WAY.step(role) as done:
            result = step(self)
            done.append(result)
            return result

    return stepping


def _passing(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(function)
    def passing(*arguments: Any, **options: Any) -> Any:
        WAY.come_to(f"{name}:before")
        result = function(*arguments, **options)
        WAY.moved |= name in UNSEEN
        WAY.come_to(f"{name}:after")
        return result

    return passing


def _entering(context: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Watch how something is taken and given back; when it is given back, a transaction has ended."""

    @wraps(context)
    @contextmanager
    def entering(*arguments: Any, **options: Any) -> Generator[Any, None, None]:
        WAY.come_to(f"{name}:before")
        with context(*arguments, **options) as held:
            if held:
                WAY.come_to(f"{name}:inside")
            yield held
        if held:
            WAY.come_to(f"{name}:after")

    return entering


def _publishing(publish: Callable[..., Any]) -> Callable[..., Any]:
    """Watch a broker being told; in the middle it has been told the first half."""

    @wraps(publish)
    def publishing(self: Any, envelopes: Any, *, deadline: float) -> Any:
        WAY.come_to("publish:before")
        if len(envelopes) > 1:
            half = envelopes[: len(envelopes) // 2]
            WAY.moved = True
            WAY.come_to("publish:middle", last=lambda: publish(self, half, deadline=deadline))
        receipts = publish(self, envelopes, deadline=deadline)
        WAY.moved = True
        WAY.come_to("publish:after")
        return receipts

    return publishing
