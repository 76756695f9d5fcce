"""Messages to bytes and back.  Each adapter has a module of its own: json, orjson, msgspec."""

from __future__ import annotations

from simplecqrs.codec.json import JSONCodec
from simplecqrs.codec.loading import load
from simplecqrs.codec.port import Codec, Inspects, PlainCodec

__all__ = ["Codec", "Inspects", "JSONCodec", "PlainCodec", "load"]
