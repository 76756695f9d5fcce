"""A saga's state: whether it may be shared, and fresh copies of one that may not."""

from __future__ import annotations

from typing import Any

import attrs

from simplecqrs.codec.port import Codec
from simplecqrs.saga.records import Packed, Record

__all__ = ["fresh", "is_frozen", "pack", "unpack"]


def is_frozen(cls: type[Any]) -> bool:
    """Tell whether objects of a class cannot be changed, so that a step that fails leaves nothing in them."""
    if attrs.has(cls):
        return getattr(cls.__setattr__, "__name__", "") == "_frozen_setattrs"
    if issubclass(cls, tuple):
        return True
    settings = getattr(cls, "__dataclass_params__", None) or getattr(cls, "__struct_config__", None)
    if settings is not None:
        return bool(settings.frozen)
    return bool(getattr(cls, "model_config", {}).get("frozen"))  # pydantic's


def fresh(state: Any, codec: Codec) -> Any:
    """Return a state like this one that nobody else has."""
    kind: type[Any] = state.__class__
    return codec.decode(kind, codec.encode(state))


def pack(state: Any, codec: Codec) -> bytes:
    """Return a state as bytes, whether it has been unpacked or not."""
    return state.data if type(state) is Packed else codec.encode(state)


def unpack(record: Record, kind: type[Any], codec: Codec) -> None:
    """Make objects of a record's states; raises InvalidPayload if one does not fit its class any more."""
    record.state = _unpacked(record.state, kind, codec)
    for name, known in record.progress.items():
        if known.state is not None:
            record.progress[name] = known._replace(state=_unpacked(known.state, kind, codec))


def _unpacked(state: Any, kind: type[Any], codec: Codec) -> Any:
    return codec.decode(kind, state.data) if type(state) is Packed else state
