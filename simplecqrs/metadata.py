"""What is known about a message besides its content: ids, time, headers."""

from __future__ import annotations

import os
import time
from collections import ChainMap
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from simplecqrs.errors import InvalidMessage

if TYPE_CHECKING:  # the modules take as long to import as all of ours that a plain ``send`` needs
    from datetime import datetime
    from uuid import UUID

__all__ = ["ORIGIN", "Context", "Metadata", "active_context", "new_metadata", "setting", "setting_late", "uuid7"]

#: The header with the id that others know a message by; what it causes does not have it.
ORIGIN = "cqrsorigin"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@frozen
class Metadata:
    """
    What is known about a message besides its content.

    Args:
        id: names the message (UUIDv7); the same in the process, in tables and on the wire.
        time: when it was made, aware, UTC.
        correlation_id: shared by all that has one first cause.
        causation_id: the id of the message in whose handler this one was made, if any.
        headers: what ``context(...)`` set, strings both.
        received: whether it, or what caused it, came out of an inbox: then the headers are what somebody claims, and
            say who caused it, not who may.
    """

    id: UUID
    time: datetime
    correlation_id: str
    causation_id: str | None = None
    headers: Mapping[str, str] = field(default=NO_HEADERS)
    received: bool = field(default=False, eq=False)


@frozen(eq=False, repr=False)  # each method that attrs writes costs at import
class Context:
    """What ``context(...)`` has set for the messages that follow."""

    correlation_id: str | None = None
    headers: Mapping[str, str] = NO_HEADERS
    cause: Metadata | None = None  # of the message in whose handler it was set
    late: bool = False  # whether to read the headers is to ask somebody else


_active: ContextVar[Context | None] = ContextVar("simplecqrs_context", default=None)

#: Return what ``context(...)`` has set here, or None.
active_context = _active.get


@contextmanager
def setting(
    correlation_id: str | None, headers: Mapping[str, str], cause: Metadata | None = None
) -> Generator[None, None, None]:
    """
    Set what the messages made inside carry, on top of what is set already.

    Args:
        cause: the message in whose handler this happens, if any.
    """
    for name, value in {"correlation_id": correlation_id, **headers}.items():
        if not isinstance(value, str) and (name, value) != ("correlation_id", None):
            raise InvalidMessage(f"headers are strings: context({name}={value!r}); write str(...) around it")
    with setting_late(correlation_id, headers, cause, late=False):
        yield


@contextmanager
def setting_late(
    correlation_id: str | None, headers: Mapping[str, str], cause: Metadata | None = None, *, late: bool = True
) -> Generator[None, None, None]:
    """Do what ``setting`` does with headers that are read when somebody asks for them, and not before."""
    before = _active.get() or Context()
    known = before.headers
    inside = evolve(
        before,
        correlation_id=correlation_id if correlation_id is not None else before.correlation_id,
        headers=MappingProxyType(ChainMap(headers, known) if known else headers),  # type: ignore[arg-type]
        cause=cause,
        late=late or before.late,
    )
    token = _active.set(inside)
    try:
        yield
    finally:
        _active.reset(token)


def new_metadata(cause: Metadata | None, within: Context | None) -> Metadata:
    """
    Make the metadata of a message, from what caused it and from the context in which it was made.

    A context that was set before the cause began says nothing new: what the cause carries goes before it.
    """
    from datetime import datetime, timezone

    own_id = uuid7()
    if within is None or (cause is not None and within.cause is not cause):
        within = Context()
    correlation_id = within.correlation_id or (cause.correlation_id if cause else str(own_id))
    inherited = cause.headers if cause else NO_HEADERS
    if ORIGIN in inherited:
        inherited = {name: value for name, value in inherited.items() if name != ORIGIN}
    return Metadata(
        own_id,
        datetime.now(timezone.utc),
        correlation_id,
        str(cause.id) if cause else None,
        MappingProxyType({**inherited, **within.headers}) if within.headers else inherited,
        cause is not None and cause.received,
    )


_uuid: type[UUID] | None = None
_unknown: object = None
#: The bits of an id that are random, and those that say what it is.
_NOISE = (1 << 80) - 1 & ~(0xF << 76 | 0x3 << 62)
_VERSION = 0x7 << 76 | 0x2 << 62
#: Random bits of ids to come: to ask the system for those of each id takes half of the time.
_noises: list[int] = []
_AT_ONCE = 128
_new: Any = object.__new__
_set_int: Any = None
_set_is_safe: Any = None
_now = time.time_ns


def uuid7() -> UUID:
    """Return a UUID of version 7 (RFC 9562, 5.7): 48 bits of milliseconds, then random bits."""
    try:
        noise = _noises.pop()
    except IndexError:
        noise = _make_noise()
    # What UUID(int=value) does, without its checks, which take twice as long as all of this.
    made: UUID = _new(_uuid)
    _set_int(made, _now() // 1_000_000 << 80 | noise)
    _set_is_safe(made, _unknown)
    return made


def _make_noise() -> int:
    """Return the random bits of one id, and have those of the next ones ready."""
    global _uuid, _unknown, _set_int, _set_is_safe
    if _uuid is None:
        from uuid import UUID, SafeUUID

        _unknown, _uuid = SafeUUID.unknown, UUID
        _set_int, _set_is_safe = vars(UUID)["int"].__set__, vars(UUID)["is_safe"].__set__
    raw = os.urandom(10 * _AT_ONCE)
    made = [int.from_bytes(raw[at : at + 10], "big") & _NOISE | _VERSION for at in range(0, len(raw), 10)]
    noise = made.pop()
    _noises.extend(made)
    return noise


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_noises.clear)  # or both would make the same ids
