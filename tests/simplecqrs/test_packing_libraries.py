"""Compression by zstd, an extra, beside that by zlib."""

from __future__ import annotations

import sys

import pytest
import zstandard

from simplecqrs.errors import InvalidPayload, MissingExtra, NotConfigured, PayloadTooLarge
from simplecqrs.packing import Compress, Packing
from simplecqrs.packing.compression import opened
from tests.simplecqrs.test_packing import LONG, envelope


@pytest.mark.parametrize("level", [None, 1, 19])
def test_zstd_compresses_and_says_so(level: int | None) -> None:
    """As zlib does; both are read by everybody."""
    sent = envelope(LONG)

    packed = Compress(by="zstd", level=level).pack(sent)

    assert packed.content_type == "application/json+zstd"
    assert zstandard.decompress(packed.payload) == LONG
    assert Packing(compress=Compress(by="zlib")).unpack(packed) == sent


def test_a_level_that_there_is_not_is_refused() -> None:
    """Above 19 a reader would need more memory than he gives a stranger."""
    with pytest.raises(NotConfigured, match="zstd has levels from 1 to 19, not 22"):
        Compress(by="zstd", level=22)


def test_a_bomb_is_not_opened() -> None:
    """It says how large it is; if it lies, it is damaged."""
    bomb = zstandard.compress(b"x" * 50_000_000)
    assert len(bomb) < 5_000

    with pytest.raises(PayloadTooLarge, match="holds more than the limit of 1000 bytes"):
        Packing(max_bytes=1000).unpack(envelope(bomb, "application/json+zstd"))


def streamed() -> bytes:
    """Return a frame that does not say how large it is."""
    writer = zstandard.ZstdCompressor().compressobj()
    return bytes(writer.compress(LONG)) + bytes(writer.flush())


def lying() -> bytes:
    """Return a frame that holds more than it says."""
    frame = bytearray(zstandard.compress(b"x" * 1000))
    frame[5] -= 1  # the lower byte of its size, less 256
    return bytes(frame)


DAMAGES = {
    "nothing": b"",
    "no zstd": b"{}",
    "its half": zstandard.compress(LONG)[:-5],
    "more": zstandard.compress(LONG) + b"x",
    "without a size": streamed(),
    "with a wrong size": lying(),
    "something behind nothing": zstandard.compress(b"") + zstandard.compress(LONG),
    "a frame to be skipped": b"\x50\x2a\x4d\x18\x01\0\0\0x" + zstandard.compress(LONG),
}


@pytest.mark.parametrize("payload", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_an_invalid_payload(payload: bytes) -> None:
    """Never another error, and never a part of it."""
    with pytest.raises(InvalidPayload, match="is not what zstd has written"):
        Packing().unpack(envelope(payload, "application/json+zstd"))


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """At start-up for who writes; where it comes for who reads, so that it waits until the library is there."""
    packed = Compress(by="zstd").pack(envelope(LONG))
    monkeypatch.setitem(sys.modules, "zstandard", None)

    with pytest.raises(MissingExtra, match=r"simplecqrs\[zstd\]"):
        Compress(by="zstd")
    with pytest.raises(MissingExtra, match=r"simplecqrs\[zstd\]"):
        Packing().unpack(packed)
    assert opened(packed.payload, packed.content_type) == packed.payload
