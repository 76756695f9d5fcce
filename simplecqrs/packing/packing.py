"""What is done to an envelope after the codec, and undone before it."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from simplecqrs.envelope import Envelope
from simplecqrs.packing.claims import Claims, redeemed
from simplecqrs.packing.compression import Compress, decompressed

__all__ = ["Packing"]

MiB: Final = 1024 * 1024


@frozen(kw_only=True)
class Packing:
    """
    Compress what is large, and put elsewhere what is very large; the content type says what was done.

    So it is undone whatever the reader would do himself: old rows and new ones, plain and compressed, may be mixed.

    Args:
        compress: how, above which size.  Default: nothing is compressed; it is read all the same.
        claims: where to, above which size.  Default: everything travels with its message.
        max_bytes: the largest payload that is unpacked.
    """

    compress: Compress | None = None
    claims: Claims | None = None
    max_bytes: int = MiB

    def pack(self, envelope: Envelope, /) -> Envelope:
        """Return an envelope as it is stored and sent."""
        if self.compress is not None:
            envelope = self.compress.pack(envelope)
        return envelope if self.claims is None else self.claims.pack(envelope)

    def unpack(self, envelope: Envelope, /) -> Envelope:
        """
        Return an envelope as the codec has made it.

        Raises:
            UnknownMessage: if its payload is elsewhere, and nobody said where.
            ClaimMissing: if it is not there.
            InvalidPayload: if it is damaged, or too large.
            MissingExtra: if it was compressed by a library that is not installed.
        """
        if "+" not in envelope.content_type:  # the quick way: neither mark is without one
            return envelope
        return decompressed(redeemed(envelope, self.claims, self.max_bytes), self.max_bytes)
