"""JSON by Python's own json does what every codec of JSON does."""

from __future__ import annotations

from simplecqrs.codec import JSONCodec
from tests.contracts.codec import CodecContract


class TestContract(CodecContract):
    """It does what every adapter does."""

    kind = JSONCodec
