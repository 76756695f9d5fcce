"""Signed messages: who has no key can neither write nor change one."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timezone
from typing import Any, Final, TypeVar, cast

from attrs import define, evolve, field, frozen

from simplecqrs.envelope import SIGNATURE, Envelope
from simplecqrs.errors import NotConfigured
from simplecqrs.transport import Delivery, Feed, Garbage, Publisher, Receipt

__all__ = ["FORGED", "Signer", "signing", "verifying"]

P = TypeVar("P", bound=Publisher)

METHOD: Final = "hmac-sha256"
#: How the reason begins for which a message is not let in.
FORGED: Final = "not to be believed"
#: Bytes of a secret; no shorter one is as hard to guess as the hash is to forge.
SHORTEST: Final = 32
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _secrets(keys: Mapping[Any, Any]) -> Mapping[str, bytes]:
    """Return keys as bytes; what is wrong is said without showing one."""
    if not keys:
        raise NotConfigured("there is no key to sign with")
    secrets = {name: secret.encode() if isinstance(secret, str) else secret for name, secret in keys.items()}
    for name, secret in secrets.items():
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            raise NotConfigured("the names of keys have up to 64 letters, digits, dots, dashes and underscores")
        if not isinstance(secret, bytes) or len(secret) < SHORTEST:
            raise NotConfigured(
                f"the key {name!r} is no text of {SHORTEST} bytes or more; make one: python -c 'import secrets; "
                "print(secrets.token_hex(32))'"
            )
    return secrets


@frozen
class Signer:
    """
    Sign envelopes by HMAC-SHA256, and tell which ones were signed.

    Signed is all that an envelope holds but its topic, which is a place in a broker: id, kind, name, version, key,
    source, time, correlation, causation, content type, headers and payload, as they travel.

    Args:
        keys: names of keys to secrets.  The first one signs; all of them are accepted, so that a new one can be put
            in front while messages that were signed by the old one are on their way.

    Raises:
        NotConfigured: if there is no key, or one that is too short.
    """

    _keys: Mapping[str, bytes] = field(converter=_secrets, repr=False, alias="keys")

    def sign(self, envelope: Envelope, /) -> Envelope:
        """Return an envelope with its signature in the header ``cqrssignature``."""
        name, secret = next(iter(self._keys.items()))
        value = f"{METHOD}:{name}:{_digest(secret, envelope)}"
        return evolve(envelope, headers={**envelope.headers, SIGNATURE: value})

    def problem(self, envelope: Envelope, /) -> str:
        """Return why an envelope is not to be believed; empty if it is."""
        signature = envelope.headers.get(SIGNATURE)
        if signature is None:
            return "it is not signed"
        method, _, rest = signature.partition(":")
        name, _, digest = rest.partition(":")
        if method != METHOD:
            return f"it is signed by {method[:40]!r}; {METHOD} is known here"
        secret = self._keys.get(name)
        if secret is None:
            return f"it is signed with the key {name[:64]!r}, which is not known here"
        if not hmac.compare_digest(_digest(secret, envelope).encode(), digest.encode(errors="replace")):
            return f"it is not what was signed with the key {name!r}"
        return ""


def signing(publisher: P, signer: Signer) -> P:
    """
    Give a publisher what it gets, signed.

    What is returned is the publisher in all else.
    """
    return cast("P", _Signing(publisher, signer))


def verifying(feed: Feed, signer: Signer) -> Feed:
    """
    Let nothing in that was not signed: it is garbage, a dead letter with its bytes.

    Before anything of a message is believed: its id would be remembered as seen, its key would be blocked.
    """
    return cast("Feed", _Verifying(feed, signer))


@define(eq=False)
class _Signing:
    publisher: Publisher
    signer: Signer

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        return self.publisher.publish([self.signer.sign(e) for e in envelopes], deadline=deadline)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.publisher, name)


@define(eq=False)
class _Verifying:
    feed: Feed
    signer: Signer

    def fetch(self, limit: int, /) -> Sequence[Delivery]:
        return [self._verified(delivery) for delivery in self.feed.fetch(limit)]

    def _verified(self, delivery: Delivery) -> Delivery:
        envelope = delivery.content
        if isinstance(envelope, Garbage):
            return delivery
        problem = self.signer.problem(envelope)
        if not problem:
            return delivery
        return Delivery(delivery.id, Garbage(f"{FORGED}: {problem}", envelope.payload, envelope.headers, envelope))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.feed, name)


def _digest(secret: bytes, envelope: Envelope) -> str:
    """Return the signature; each part is told apart by its length, so that no two envelopes give the same bytes."""
    signed = b"".join(piece for part in _parts(envelope) for piece in (len(part).to_bytes(8, "big"), part))
    return hmac.digest(secret, signed, "sha256").hex()


def _parts(envelope: Envelope) -> Iterator[bytes]:
    headers = sorted((name, value) for name, value in envelope.headers.items() if name != SIGNATURE)
    texts = [
        "simplecqrs 1", str(envelope.id), envelope.kind, envelope.name, str(envelope.version), envelope.key,
        envelope.source, envelope.time.astimezone(timezone.utc).isoformat(timespec="microseconds"),
        envelope.correlation_id, envelope.causation_id or "", envelope.content_type, str(len(headers)),
        *(text for header in headers for text in header),
    ]  # fmt: skip
    for text in texts:
        yield text.encode(errors="surrogatepass")
    yield envelope.payload
