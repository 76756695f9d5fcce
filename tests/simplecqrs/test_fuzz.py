"""Whatever comes from outside is read, is garbage, or is an invalid payload; nothing else is ever raised."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from simplecqrs.brokers.formats import Parcel
from tests.simplecqrs.fuzz_targets import FORMATS, LIMIT, SEPARATOR, decode_anything, fuzz, read_anything, seeds

#: scripts/fuzz has more time.
EXAMPLES: Final = int(os.environ.get("CQRS_FUZZ_EXAMPLES", "0"))
many = settings(
    max_examples=EXAMPLES or 60, deadline=None, derandomize=not EXAMPLES, suppress_health_check=list(HealthCheck)
)

SEEDS: Final = tuple(seeds())
#: All that is ever said by name: attributes, members, fields; and values that mean something.
WORDS: Final = sorted(
    {word for seed in SEEDS for part in seed.split(SEPARATOR) for word in part.decode(errors="ignore").split('"')}
    | {
        "eventName",
        "eventId",
        "eventTimestamp",
        "data_base64",
        "ce_cqrsescaped",
        "cqrs_version",
        "version",
        "{}",
        "1.0",
    }
)
TEXTS = st.sampled_from(WORDS) | st.text(st.characters(), max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=6),
    max_leaves=10,
)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """Make of a seed what a fault on the way would make of it."""
    seed = draw(st.sampled_from(SEEDS))
    begin = draw(st.integers(0, len(seed)))
    end = draw(st.integers(begin, min(begin + 5, len(seed))))
    return seed[:begin] + draw(st.binary(max_size=5) | TEXTS.map(lambda t: t.encode(errors="replace"))) + seed[end:]


BODIES = st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode())
PARCELS = st.builds(
    Parcel,
    BODIES,
    st.sampled_from(["", "application/json", "application/cloudevents+json", "application/x-protobuf"]) | TEXTS,
    st.dictionaries(TEXTS | TEXTS.map("ce_{}".format), TEXTS, max_size=12),
)
BOMBS: Final = {
    "deep and never closed": b"[" * 250_000,
    "deep objects": b'{"a":' * 50_000,
    "deep": b"[" * 120_000 + b"]" * 120_000,
    "deep in a payload": b'{"payload": {"tree": {"name": "a", "trees": ' + b"[" * 300 + b"]" * 300 + b"}}}",
    "endless integer": b'{"number": ' + b"9" * 250_000 + b"}",
    "many long integers": b'{"whatever": [' + b",".join([b"9" * 4299] * 55) + b"]}",
    "negative integer": b'{"whatever": -' + b"9" * 5000 + b"}",
    "exponent": b'{"number": 1e999999}',
    "endless fraction": b'{"share": 0.' + b"9" * 250_000 + b"}",
    "infinite": b'{"share": 1e400}',
    "endless decimal": b'{"price": "' + b"9" * 250_000 + b'"}',
    "exponent of a decimal": b'{"price": "1e999999999"}',
    "endless time": b'{"span": 1e300}',
    "end of time": b'{"at": "9999-12-31T23:59:59-23:59"}',
    "escapes": b'{"a": "' + b"\\u0041" * 40_000 + b'"}',
    "backslashes": b'"' + b"\\" * 250_000,
    "quotes": b'{"a": "' + b'\\"' * 120_000 + b'"}',
    "brackets in strings": b'{"payload": [' + b'"[",' * 50_000 + b'"["]}',
    "names like theirs": b'{"eventName": "e", "payload": {' + b'"aB": 1, ' * 25_000 + b'"aB": 1}}',
    "name without an end": b'{"eventName": "e", "payload": {"a' + b"Bc" * 100_000 + b'": 1}}',
}


@pytest.mark.parametrize("name", FORMATS)
@many
@given(parcel=PARCELS)
def test_any_parcel_is_an_envelope_or_garbage(name: str, parcel: Parcel) -> None:
    """And what was read is written and read again the same, where the format has a word for it."""
    wire, exact = FORMATS[name]

    read_anything(wire, parcel, exact=exact)


@many
@given(data=spoilt())
def test_what_was_right_and_is_spoilt_is_an_envelope_or_garbage(data: bytes) -> None:
    """Bytes are lost, doubled, or others on the way."""
    fuzz(data)


@many
@given(payload=BODIES)
@example(b"[" * 128 + b"]" * 128)
def test_any_payload_is_a_message_or_an_invalid_payload(payload: bytes) -> None:
    """For each of the codecs that are installed."""
    decode_anything(payload)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_fuzzers_begin_with_is_right(seed: bytes) -> None:
    """Else they would only try what is refused at once."""
    body, *rest = seed.split(SEPARATOR)
    content_type, *parts = [part.decode() for part in rest]
    parcel = Parcel(body, content_type, dict(zip(parts[::2], parts[1::2], strict=True)))

    read = [wire.read(parcel, topic="orders", max_bytes=LIMIT) for wire, _ in FORMATS.values()]

    assert any(getattr(found, "name", "") == "OrderPlaced" for found in read)


@pytest.mark.parametrize("name", BOMBS)
def test_no_bomb_goes_off(name: str) -> None:
    """Neither the stack nor the time of a reader is in a stranger's hand."""
    bomb, began = BOMBS[name], time.process_time()

    for wire, exact in FORMATS.values():
        for content_type in ("application/json", "application/cloudevents+json"):
            read_anything(wire, Parcel(bomb, content_type), exact=exact, max_bytes=2**18)
    decode_anything(bomb)

    assert time.process_time() - began < 10
