"""When a message is due, and when it expires."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Final

from attrs import field, frozen

from simplecqrs.errors import InvalidMessage
from simplecqrs.messages import Event

__all__ = ["EXPIRY", "Moment", "Timed", "check_times", "expires_at", "read_moment"]

#: The header that says when a message expires; CloudEvents has an extension of that name.
EXPIRY: Final = "expirytime"
#: An aware time, or how long it is until then.
Moment = datetime | timedelta


@frozen
class Timed(Event):
    """
    An event that is told later, or that is worth nothing after a while; published in place of the event.

    Those are told whom it reaches through the outbox: brokers, and handlers with ``consumer=``.

    Args:
        event: what is told.
        due: when it is told, an aware time or a timedelta from now.  Default: at once.
        expires: when it is not told any more, an aware time or a timedelta from ``due`` on.  Default: never.

    Raises:
        InvalidMessage: if a time has no time zone, or if it would expire before it is due.

    >>> from simplecqrs import NotificationEvent
    >>> @frozen
    ... class SaleEnds(NotificationEvent):
    ...     shop: str
    >>> Timed(SaleEnds("tea"), due=timedelta(days=2), expires=timedelta(hours=1)).event
    SaleEnds(shop='tea')
    """

    event: Event
    due: Moment | None = field(default=None, kw_only=True)
    expires: Moment | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _check_event(self.event)
        check_times(type(self.event).__qualname__, self.due, self.expires)


def _check_event(event: object) -> None:
    if not isinstance(event, Event):
        raise InvalidMessage(f"Timed({event!r}): it takes an event; to have a command handled later, defer it")
    if isinstance(event, Timed):
        raise InvalidMessage(f"{type(event.event).__qualname__} is Timed twice; give both its times to one")


def check_times(what: str, due: object, expires: object) -> None:
    """
    Refuse times that nobody could know, and those that can never be kept.

    Args:
        what: the message, for the error.

    Raises:
        InvalidMessage: with the culprit and the cure.
    """
    for name, moment in (("due", due), ("expires", expires)):
        if moment is not None:
            _check(what, name, moment)
    never = expires <= timedelta(0) if isinstance(expires, timedelta) else False
    if isinstance(due, datetime) and isinstance(expires, datetime):
        never = expires <= due
    if never:
        raise InvalidMessage(f"{what}: expires={expires!r} is not after it is due; nobody would ever get it")


def _check(what: str, name: str, moment: object) -> None:
    if isinstance(moment, timedelta):
        try:
            _ = datetime.now(timezone.utc) + moment
        except OverflowError:
            raise InvalidMessage(f"{what}: {name}={moment!r} is in no year that a calendar has") from None
    elif not isinstance(moment, datetime):
        raise InvalidMessage(f"{what}: {name}={moment!r} is no time; give an aware datetime, or a timedelta from now")
    elif moment.utcoffset() is None:
        raise InvalidMessage(
            f"{what}: {name}={moment!r} does not say in which time zone; give an aware datetime, such as "
            f"datetime.now(timezone.utc) + timedelta(hours=1), or just timedelta(hours=1)"
        )


def expires_at(due: Moment | None, expires: Moment | None, now: datetime) -> datetime | None:
    """Return when a message expires that is made now; None: never."""
    if not isinstance(expires, timedelta):
        return expires
    begins = now + due if isinstance(due, timedelta) else due or now
    # In UTC: a zone's own arithmetic is of its clocks on the wall, which skip an hour and repeat another.
    return begins.astimezone(timezone.utc) + expires


def read_moment(text: str) -> datetime:
    """
    Read a time as RFC 3339 writes it, and return it in UTC.

    Raises:
        ValueError: if it is none, or without a time zone, or none that UTC has.
    """
    if text.endswith("Z"):  # Python 3.10 does not read it
        text = f"{text[:-1]}+00:00"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(_usual(text))
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"{text[:40]} is no time in UTC") from None


def _usual(text: str) -> str:
    """Return a time as every Python reads it: with six digits of a second, and in capitals."""
    seconds, point, rest = text.upper().replace("Z", "+00:00").partition(".")
    zone = rest.lstrip("0123456789")
    digits = rest[: len(rest) - len(zone)]
    return f"{seconds}{point}{digits:0<6.6}{zone}" if digits else f"{seconds}{point}{zone}"
