"""Large payloads put elsewhere: what travels is a claim check, by which the receiver gets them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Protocol, cast
from uuid import UUID

from attrs import evolve, field, frozen
from attrs.validators import ge, instance_of

from simplecqrs.envelope import Envelope
from simplecqrs.errors import ClaimMissing, InvalidPayload, NotConfigured, PayloadTooLarge, UnknownMessage

__all__ = ["CLAIM", "ClaimStore", "Claims", "MemoryClaims", "redeemed"]

#: The content type of a claim check.
CLAIM: Final = "application/vnd.simplecqrs.claim+json"
#: Bytes that a claim check has at most.
LARGEST: Final = 4096
#: Characters that a reference has at most.
LONGEST_REFERENCE: Final = 255
KiB = 1024


class ClaimStore(Protocol):
    """
    Keeps large payloads where senders and receivers both can reach them.  Threads share one.

    Nobody tells it that a payload is not needed any more: each consumer, and each retry, asks for it again.  So it
    forgets by age, later than the outbox, the broker and every consumer do.
    """

    def put(self, message: UUID, payload: bytes, /) -> str:
        """
        Keep the payload of a message, and return by what ``get`` finds it: 1 to 255 printable characters.

        Called where the message is published, in the transaction that is open: what it raises undoes the command, and
        what is put is there before the commit.  After a rollback it remains, and nobody asks for it.
        """
        ...

    def get(self, reference: str, /, *, limit: int) -> bytes:
        """
        Return a payload; of one that is larger than the limit, in bytes, the beginning is enough.

        The reference came from outside, so it may be anything.  May be repeated.

        Raises:
            ClaimMissing: if there is none; the message is tried again.
            InvalidPayload: if no ``put`` can have returned this reference.
        """
        ...


@frozen
class Claims:
    """
    Put payloads above a size elsewhere.

    Args:
        store: where to.
        above: bytes, after compression.
    """

    store: ClaimStore
    above: int = field(default=256 * KiB, kw_only=True, validator=[instance_of(int), ge(0)])

    def pack(self, envelope: Envelope, /) -> Envelope:
        """
        Return an envelope with a claim check in the place of a large payload.

        Raises:
            NotConfigured: if the store returns a reference that nobody takes.
        """
        if len(envelope.payload) <= self.above:
            return envelope
        reference = self.store.put(envelope.id, envelope.payload)
        if not _is_reference(reference):
            raise NotConfigured(
                f"{type(self.store).__qualname__}.put returned {reference!r:.300}; a reference is a string of 1 to "
                f"{LONGEST_REFERENCE} printable characters"
            )
        claim = {
            "reference": reference,
            "length": len(envelope.payload),
            "sha256": hashlib.sha256(envelope.payload).hexdigest(),
            "content_type": envelope.content_type,
        }
        return evolve(envelope, content_type=CLAIM, payload=json.dumps(claim, separators=(",", ":")).encode())


class MemoryClaims:
    """Keep large payloads in this process, for tests."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, message: UUID, payload: bytes, /) -> str:
        """Keep a payload under the id of its message."""
        self.kept[str(message)] = payload
        return str(message)

    def get(self, reference: str, /, *, limit: int) -> bytes:
        """Return it, whole."""
        if reference not in self.kept:
            raise ClaimMissing(f"no payload is kept as {reference}")
        return self.kept[reference]


def _is_reference(value: object) -> bool:
    """Tell whether it is one: it stands in errors and logs, so it has neither lines nor halves of characters."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_REFERENCE and value.isprintable()


def redeemed(envelope: Envelope, claims: Claims | None, max_bytes: int) -> Envelope:
    """
    Return an envelope with the payload for which it has a claim check, if that is what it has.

    Raises:
        UnknownMessage: if nobody said where such payloads are.
        ClaimMissing: if it is not there.
        PayloadTooLarge: if it is larger than that.
        InvalidPayload: if it is not the one that was put there, or if the claim check is none.
    """
    if envelope.content_type != CLAIM:
        return envelope
    if claims is None:
        raise UnknownMessage(
            f"the payload of {envelope.name} {envelope.id} is elsewhere, and this project does not say where: "
            "Packing(claims=...), in Django CLAIMS"
        )
    claim = _Claim.read(envelope.payload)
    if claim.length > max_bytes:
        raise PayloadTooLarge(f"a payload of {claim.length} bytes is elsewhere, more than the limit of {max_bytes}")
    payload = claims.store.get(claim.reference, limit=claim.length)
    if len(payload) != claim.length or hashlib.sha256(payload).hexdigest() != claim.sha256:
        raise InvalidPayload(f"what is kept as {claim.reference} is not what was put there for {envelope.id}")
    return evolve(envelope, content_type=claim.content_type, payload=payload)


@frozen
class _Claim:
    reference: str
    length: int
    sha256: str
    content_type: str

    @classmethod
    def read(cls, payload: bytes) -> _Claim:
        try:
            if len(payload) > LARGEST:
                raise ValueError(f"it has {len(payload)} bytes")
            data: Any = json.loads(payload)
            claim = cls(**{name: _of(data, name, kind) for name, kind in FIELDS.items()})
            if not _is_reference(claim.reference) or claim.length < 0 or claim.content_type == CLAIM:
                raise ValueError("it makes no sense")
        except (ValueError, RecursionError) as error:
            raise InvalidPayload(f"this is no claim check: {error}") from None
        return claim


FIELDS: Final[Mapping[str, type]] = {"reference": str, "length": int, "sha256": str, "content_type": str}


def _of(data: Any, name: str, kind: type) -> Any:
    value = cast("dict[str, Any]", data).get(name) if isinstance(data, dict) else None
    if type(value) is not kind:
        raise ValueError(f"{name} is no {kind.__name__}")
    return value
