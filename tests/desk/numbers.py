"""A consumer of a broker in memory, and one that keeps nothing."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from simplecqrs import NotificationEvent
from simplecqrs.memory import MemoryBroker
from simplecqrs.transport import Feed
from tests.desk.project import Project

__all__ = ["Counted", "Forgetful", "Plain", "counting"]


@frozen
class Counted(NotificationEvent, topic="numbers", key="who"):
    """For everybody."""

    who: str
    step: int = 0


def counting(project: Project, settings: Any) -> Project:
    """Return the project with a consumer ``one`` of a broker ``events``, and a history."""
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"events": {"BACKEND": "simplecqrs.memory.MemoryBroker"}},
        "ROUTES": {"numbers": "events"},
        "CONSUMERS": {"one": {"broker": "events"}},
        "KEEP_HISTORY": "48h",
    }
    project.consume(Counted, consumer="one")
    return project


class Forgetful(MemoryBroker):
    """Keeps nothing that was acknowledged."""

    def feeds(self, consumer: str, topics: Any, /) -> Any:
        """Return feeds that cannot go back."""
        return [Plain(feed) for feed in super().feeds(consumer, topics)]


class Plain:
    """A feed that can do no more than it must."""

    def __init__(self, feed: Feed) -> None:
        self.name, self.fetch, self.acknowledge = feed.name, feed.fetch, feed.acknowledge
