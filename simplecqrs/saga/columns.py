"""
A saga as columns of a table: what every database stores of one, and reads again.

Releases share tables while one follows the other: what an older one does not know of the JSON it ignores, and what it
could not go on with it refuses by name.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, get_args
from uuid import UUID

from simplecqrs.codec.port import Codec
from simplecqrs.errors import InvalidPayload, PayloadTooLarge
from simplecqrs.saga.records import Action, Entry, Packed, Phase, Progress, Record, SagaStatus
from simplecqrs.saga.states import pack

__all__ = ["address", "entry_of", "from_columns", "to_columns", "to_entry_columns"]

#: How long texts are kept, in characters.
LONGEST: Final = 4000
#: How large all states of a saga may be, in bytes.
LARGEST: Final = 16 * 1024 * 1024
#: The fields of a record that are columns as they are.
PLAIN: Final = ("id", "saga", "status", "position", "version", "fingerprint", "paused", "cancelled", "recoveries")
TEXTS: Final = ("error", "owner", "correlation_id")
STATUSES: Final = frozenset(get_args(SagaStatus))
PHASES: Final = frozenset(get_args(Phase))
ACTIONS: Final = frozenset(get_args(Action))


def to_columns(record: Record, codec: Codec) -> dict[str, Any]:
    """
    Return what is stored of a saga: ``state`` as bytes, ``progress`` and ``headers`` as JSON in text, the rest as is.

    The order of ``progress`` counts, so it belongs in a column for text, not in one for JSON.

    Raises:
        PayloadTooLarge: if its states are larger than 16 MiB together.
    """
    columns = {name: getattr(record, name) for name in PLAIN}
    columns |= {name: _clean(getattr(record, name)) for name in TEXTS}
    columns["state"] = pack(record.state, codec)
    columns["progress"] = _json({name: _known(step, codec) for name, step in record.progress.items()})
    columns["headers"] = _json(dict(record.headers))
    size = len(columns["state"]) + len(columns["progress"])
    if size > LARGEST:
        raise PayloadTooLarge(
            f"the state of the saga {record.id} is {size} bytes, more than the limit of {LARGEST}; keep large things "
            "elsewhere, and in the state what finds them"
        )
    return columns


def from_columns(columns: Mapping[str, Any]) -> Record:
    """
    Return a saga of its columns, its states ``Packed``; columns that it does not know are left out.

    Raises:
        InvalidPayload: if they tell of something that only a newer release knows, or if they were damaged.
    """
    saga_id, status = UUID(str(columns["id"])), columns["status"]
    _check(saga_id, "status", status, STATUSES)
    plain = {name: columns[name] for name in (*PLAIN, *TEXTS)}
    plain |= {"id": saga_id, "paused": bool(columns["paused"]), "cancelled": bool(columns["cancelled"])}
    return Record(
        **plain,
        state=Packed(bytes(columns["state"])),
        progress={name: _progress(saga_id, step) for name, step in _parsed(saga_id, columns["progress"]).items()},
        headers=_parsed(saga_id, columns["headers"]),
    )


def to_entry_columns(entry: Entry) -> dict[str, Any]:
    """Return what is stored of a line of the log: ``step``, ``action``, ``event``, ``at``, ``attempt`` and so on."""
    return {**entry._asdict(), "error": _clean(entry.error), "who": _clean(entry.who)}


def entry_of(columns: Mapping[str, Any]) -> Entry:
    """Return a line of the log of its columns."""
    return Entry(*[columns[name] for name in Entry._fields])


def address(place: str, key: str) -> str:
    """Return where an event of this key is handed in: 64 characters that no collation and no length spoils."""
    return sha256(f"{place}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()


def _known(step: Progress, codec: Codec) -> dict[str, Any]:
    """Return a step's progress without what is as ever; states that are no text are in base 64."""
    plain = step._replace(state=None)._asdict()
    known = {name: value for name, value in plain.items() if value != Progress._field_defaults.get(name)}
    if step.state is not None:
        data = pack(step.state, codec)
        try:
            known["state"] = data.decode()
        except UnicodeDecodeError:
            known["state64"] = b64encode(data).decode()
    return known


def _progress(saga_id: UUID, known: Mapping[str, Any]) -> Progress:
    _check(saga_id, "phase", known.get("phase"), PHASES)
    _check(saga_id, "action", known.get("action", "act"), ACTIONS)
    plain = {name: known[name] for name in Progress._fields if name in known}
    if "state" in known:
        plain["state"] = Packed(known["state"].encode())
    elif "state64" in known:
        plain["state"] = Packed(b64decode(known["state64"]))
    return Progress(**plain)


def _check(saga_id: UUID, what: str, value: object, known: frozenset[str]) -> None:
    if value not in known:
        raise InvalidPayload(
            f"the saga {saga_id} has the {what} {value!r}, which this release does not know; was it stored by a newer "
            "one? then run that here as well"
        )


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"))


def _parsed(saga_id: UUID, text: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise InvalidPayload(f"what is stored of the saga {saga_id} was damaged: {error}") from None
    return parsed


def _clean(text: str) -> str:
    """Return a text as every database takes it: not too long, without NUL and halves of characters."""
    text = text[:LONGEST].replace("\0", "\\0")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
