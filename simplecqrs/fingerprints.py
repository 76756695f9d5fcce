"""Fingerprints: whether two commands say the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from simplecqrs.codec.port import Codec, PlainCodec
from simplecqrs.conversion.annotations import class_of
from simplecqrs.conversion.layouts import has_layout, layout_of
from simplecqrs.messages import Message

__all__ = ["fingerprint"]

_write = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def fingerprint(command: Message, name: str, codec: Codec) -> str:
    """
    Return 64 hexadecimal digits that two commands of one name share if their fields are equal.

    The members of a set, and the keys of a dict, have no order in it: each process has its own.

    Raises:
        InvalidPayload: if the command cannot be encoded.
    """
    payload = codec.encode(command)
    if isinstance(codec, PlainCodec):
        payload = _write(_in_order(codec.parse(type(command), payload), command)).encode()
    return sha256(b"\0".join((name.encode(), payload))).hexdigest()


def _in_order(data: Any, value: Any) -> Any:
    """Return plain data with what was a set in the value that it was made of in an order of its own."""
    # Classes are asked, and not values: of what is in those the checkers know nothing.
    kind = class_of(value)
    if class_of(data) is list:
        if issubclass(kind, (set, frozenset)):
            return sorted(data, key=_write)
        return [*map(_in_order, data, value)] if _is_alike(data, value, (list, tuple)) else data
    if class_of(data) is not dict:
        return data
    if _is_alike(data, value, (Mapping,)):
        return dict(zip(data, map(_in_order, data.values(), value.values()), strict=False))
    names = {entry.keys[0]: entry.name for entry in layout_of(kind).entries} if has_layout(kind) else {}
    return {key: _in_order(inner, getattr(value, names.get(key, ""), None)) for key, inner in data.items()}


def _is_alike(data: Any, value: Any, kinds: tuple[type[Any], ...]) -> bool:
    return issubclass(class_of(value), kinds) and len(data) == len(value)
