"""Payloads compressed above a size; read again by everybody, whatever his own setting is."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, Literal

from attrs import evolve, field, frozen
from attrs.validators import ge, in_, instance_of

from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidPayload, MissingExtra, NotConfigured, PayloadTooLarge

__all__ = ["Algorithm", "Compress", "decompressed", "opened"]

Algorithm = Literal["zlib", "zstd"]

#: The levels of each algorithm; above these zstd needs more memory than a reader grants to a stranger.
LEVELS: Final[Mapping[str, range]] = {"zlib": range(1, 10), "zstd": range(1, 20)}
#: Bytes of memory that zstd may take for what it has read; what level 19 needs.
WINDOW: Final = 8 * 1024 * 1024
#: Bytes that are decompressed for people.
SHOWN: Final = 16 * 1024 * 1024

_own = threading.local()


@frozen(kw_only=True)
class Compress:
    """
    Compress payloads above a size, and say so in the content type: ``application/json+zlib``.

    What does not get smaller stays as it is.

    Args:
        above: bytes.
        by: ``zlib``, of the standard library, or ``zstd``, an extra.
        level: from 1, the quickest, to 9 (zlib) or 19 (zstd).  Default: the library's own.

    Raises:
        NotConfigured: if there is no such level.
        MissingExtra: if the library of ``zstd`` is not installed.
    """

    above: int = field(default=1024, validator=[instance_of(int), ge(0)])
    by: Algorithm = field(default="zlib", validator=in_(("zlib", "zstd")))
    level: int | None = None

    def __attrs_post_init__(self) -> None:
        levels = LEVELS[self.by]
        if self.level is not None and self.level not in levels:
            raise NotConfigured(f"{self.by} has levels from {levels[0]} to {levels[-1]}, not {self.level!r}")
        if self.by == "zstd":
            _zstandard()

    def pack(self, envelope: Envelope, /) -> Envelope:
        """Return an envelope with its payload compressed, if that makes it smaller."""
        if len(envelope.payload) <= self.above:
            return envelope
        payload = WRITERS[self.by](envelope.payload, self.level)
        if len(payload) >= len(envelope.payload):
            return envelope
        media, semicolon, parameters = envelope.content_type.partition(";")
        return evolve(envelope, content_type=f"{media.rstrip()}+{self.by}{semicolon}{parameters}", payload=payload)


def decompressed(envelope: Envelope, max_bytes: int) -> Envelope:
    """
    Return an envelope with its payload as the codec has made it.

    Raises:
        PayloadTooLarge: if there is more in it than that; no more than that was read.
        InvalidPayload: if it was damaged.
        MissingExtra: if the library of ``zstd`` is not installed.
    """
    content_type, algorithm = _split(envelope.content_type)
    if not algorithm:
        return envelope
    return evolve(envelope, content_type=content_type, payload=READERS[algorithm](envelope.payload, max_bytes))


def opened(payload: bytes, content_type: str) -> bytes:
    """Return what people can read of a payload: decompressed, or as it is if that cannot be done."""
    _, algorithm = _split(content_type)
    try:
        return READERS[algorithm](payload, SHOWN) if algorithm else payload
    except (InvalidPayload, MissingExtra):
        return payload


def _split(content_type: str) -> tuple[str, str]:
    """Return a content type without its compression, and the compression; empty if there is none."""
    media, semicolon, parameters = content_type.partition(";")
    plain, _, suffix = media.strip().rpartition("+")
    algorithm = suffix.lower()
    return (f"{plain}{semicolon}{parameters}", algorithm) if algorithm in READERS else (content_type, "")


def _deflate(payload: bytes, level: int | None) -> bytes:
    return zlib.compress(payload, -1 if level is None else level)


def _inflate(payload: bytes, max_bytes: int) -> bytes:
    reader = zlib.decompressobj()
    try:
        found = reader.decompress(payload, max_bytes + 1)
    except zlib.error as error:
        raise _damaged("zlib", str(error)) from None
    if len(found) > max_bytes:
        raise _too_large("zlib", max_bytes)
    if not reader.eof or reader.unused_data:
        raise _damaged("zlib", "something follows" if reader.eof else "the end is missing")
    return found


def _zstd_write(payload: bytes, level: int | None) -> bytes:
    key = f"writer {level}"
    writer = getattr(_own, key, None)  # it takes long to make, and threads cannot share one
    if writer is None:
        writer = _zstandard().ZstdCompressor(level=3 if level is None else level)
        setattr(_own, key, writer)
    return bytes(writer.compress(payload))


def _zstd_read(payload: bytes, max_bytes: int) -> bytes:
    zstandard = _zstandard()
    reader = getattr(_own, "reader", None)
    if reader is None:
        reader = _own.reader = zstandard.ZstdDecompressor(max_window_size=WINDOW)
    try:
        size = zstandard.frame_content_size(payload)
        if size > max_bytes:
            raise _too_large("zstd", max_bytes)
        if size <= 0:  # where a frame is empty, or to be skipped, the library looks at nothing that follows
            raise _damaged("zstd", "it is empty, or does not say how large it is")
        return bytes(reader.decompress(payload, max_output_size=max_bytes, allow_extra_data=False))
    except zstandard.ZstdError as error:
        raise _damaged("zstd", str(error)) from None


def _zstandard() -> Any:
    try:
        return import_module("zstandard")
    except ImportError:
        raise MissingExtra("compression by zstd", "zstd") from None


def _damaged(algorithm: str, reason: str) -> InvalidPayload:
    return InvalidPayload(f"the payload is not what {algorithm} has written: {reason}")


def _too_large(algorithm: str, max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the payload, compressed by {algorithm}, holds more than the limit of {max_bytes} bytes")


WRITERS: Final[Mapping[str, Callable[[bytes, int | None], bytes]]] = {"zlib": _deflate, "zstd": _zstd_write}
READERS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {"zlib": _inflate, "zstd": _zstd_read}
