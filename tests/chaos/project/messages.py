"""What counters are told, and what they tell."""

from __future__ import annotations

from attrs import frozen

from simplecqrs import Command, DomainEvent, NotificationEvent


@frozen
class Bump(Command[int]):
    """Raise a counter by so many steps, and tell each; answers its version."""

    key: str
    deed: str
    steps: int = 1


@frozen
class Bumped(NotificationEvent, topic="bumps", key="key"):
    """A counter has a new version."""

    key: str
    version: int
    deed: str


@frozen
class Noticed(DomainEvent):
    """For handlers in the same transaction."""

    deed: str


@frozen
class Break(Command[None]):
    """Bump, and fail at a point."""

    deed: str
    point: str


@frozen
class AuditBump(Command[None]):
    """Write on the other alias, and fail there if told to."""

    deed: str
    fail: bool = False


@frozen
class AuditBumped(NotificationEvent, topic="bumps", key="key"):
    """Something happened on the other alias."""

    key: str
    version: int
    deed: str


@frozen
class Later(Command[None], key="key"):
    """To be deferred: has an effect of its own."""

    key: str
    version: int
    deed: str
