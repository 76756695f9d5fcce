"""Messages that have expired: they are not shipped and not handled, but counted and logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar, cast

from attrs import define

from simplecqrs.envelope import Envelope
from simplecqrs.log_fields import about, printable
from simplecqrs.transport import ACCEPTED, Publisher, Receipt

__all__ = ["handling_unexpired", "shipping_unexpired"]

log = logging.getLogger("simplecqrs.expiry")

P = TypeVar("P", bound=Publisher)


def shipping_unexpired(publisher: P) -> P:
    """
    Give a publisher what has not expired; for the rest the answer is that it was accepted, so that it is deleted.

    What is returned is the publisher in all else, and has the number of what has expired as ``expired``.
    """
    return cast("P", _Shipping(publisher))


def handling_unexpired(receive: Callable[[Envelope], bool]) -> Callable[[Envelope], bool]:
    """
    Handle what has not expired; the rest counts as handled, so that it is deleted.

    What is returned has the number of what has expired as ``expired``.
    """
    return _Handling(receive)


@define(eq=False)
class _Shipping:
    publisher: Publisher
    expired: int = 0

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        now = datetime.now(timezone.utc)
        gone = {index for index, envelope in enumerate(envelopes) if _has_expired(envelope, now)}
        if not gone:
            return self.publisher.publish(envelopes, deadline=deadline)
        rest = [envelope for index, envelope in enumerate(envelopes) if index not in gone]
        receipts = iter(self.publisher.publish(rest, deadline=deadline) if rest else ())
        for index in sorted(gone):
            _say(envelopes[index], "shipped")
        self.expired += len(gone)
        return [ACCEPTED if index in gone else next(receipts) for index in range(len(envelopes))]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.publisher, name)


@define(eq=False)
class _Handling:
    receive: Callable[[Envelope], bool]
    expired: int = 0

    def __call__(self, envelope: Envelope, /) -> bool:
        if envelope.expires is None or not _has_expired(envelope, datetime.now(timezone.utc)):
            return self.receive(envelope)
        _say(envelope, "handled")
        self.expired += 1
        return True


def _has_expired(envelope: Envelope, now: datetime) -> bool:
    expires = envelope.expires
    return expires is not None and expires <= now


def _say(envelope: Envelope, what: str) -> None:
    log.info(
        "%s %s expired at %s and is not %s",
        printable(envelope.name),
        envelope.id,
        envelope.expires,
        what,
        extra=about(envelope),
    )
