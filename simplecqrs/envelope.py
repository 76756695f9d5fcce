"""A message on the wire and in tables."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from attrs import field, frozen

from simplecqrs.metadata import NO_HEADERS, Metadata
from simplecqrs.timing import EXPIRY, read_moment

__all__ = ["SIGNATURE", "Envelope", "Kind"]

Kind = Literal["command", "event"]

#: The header that holds a message's signature.
SIGNATURE: Final = "cqrssignature"
#: Headers about a message itself, and not about those that it causes.
OWN: Final = frozenset({EXPIRY, SIGNATURE})


@frozen(kw_only=True)
class Envelope:
    """
    A message, encoded, with all that is known about it.

    The attributes map onto those of CloudEvents 1.0: ``name`` is its ``type``, ``key`` its ``partitionkey``,
    ``content_type`` its ``datacontenttype``.

    Args:
        id: the message's id; deduplication goes by ``(source, id)``.
        kind: ``command`` or ``event``.
        name: of the message class, as its traits say.
        version: of the message's fields.
        topic: picks stream, exchange and route.
        key: the order key; empty: no order is asked for.
        source: who produced it (setting ``SOURCE``); never the stream that it came through.
        payload: the encoded message.
    """

    id: UUID
    kind: Kind
    name: str
    version: int = 1
    topic: str
    key: str = ""
    source: str = ""
    time: datetime
    correlation_id: str = ""
    causation_id: str | None = None
    headers: Mapping[str, str] = field(default=NO_HEADERS, hash=False)
    content_type: str = "application/json"
    payload: bytes = field(repr=False)

    @property
    def metadata(self) -> Metadata:
        """Return what ``current()`` shows to the handlers of this message."""
        headers = self.headers
        if not OWN.isdisjoint(headers):
            headers = {name: value for name, value in headers.items() if name not in OWN}
        # A stranger's message may be correlated with nothing; then it is the first cause of what it causes here.
        correlation_id = self.correlation_id or str(self.id)
        return Metadata(self.id, self.time, correlation_id, self.causation_id, headers, received=True)

    @property
    def expires(self) -> datetime | None:
        """Return when it is not shipped and not handled any more; None: never, or nobody can read when."""
        text = self.headers.get(EXPIRY)
        try:
            return None if text is None else read_moment(text)
        except ValueError:
            return None
