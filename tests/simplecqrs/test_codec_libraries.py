"""JSON by orjson and by msgspec does what JSON by Python does."""

from __future__ import annotations

import sys

import pytest

from simplecqrs.codec.json import JSONCodec
from simplecqrs.codec.msgspec import MsgspecCodec
from simplecqrs.codec.orjson import OrjsonCodec
from simplecqrs.errors import MissingExtra
from tests.contracts.codec import SOLD, CodecContract, Sold

CODECS: list[type[JSONCodec]] = [JSONCodec, OrjsonCodec, MsgspecCodec]


class TestOrjson(CodecContract):
    """It does what every adapter does."""

    kind = OrjsonCodec


class TestMsgspec(CodecContract):
    """It does what every adapter does."""

    kind = MsgspecCodec


@pytest.mark.parametrize("reader", CODECS)
@pytest.mark.parametrize("writer", CODECS)
def test_each_reads_what_each_writes(writer: type[JSONCodec], reader: type[JSONCodec]) -> None:
    """All of them speak one format."""
    assert reader().decode(Sold, writer().encode(SOLD)) == SOLD


@pytest.mark.parametrize(("codec", "library"), [(OrjsonCodec, "orjson"), (MsgspecCodec, "msgspec")])
def test_a_missing_library_is_named_with_its_extra(
    codec: type[JSONCodec], library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the codec is made."""
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingExtra, match=rf"pip install 'simplecqrs\[{library}\]'"):
        codec()
