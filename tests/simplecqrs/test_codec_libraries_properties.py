"""Round trips of generated message classes of all libraries, through all codecs."""

from __future__ import annotations

from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simplecqrs.codec import JSONCodec
from simplecqrs.codec.msgspec import MsgspecCodec
from simplecqrs.codec.orjson import OrjsonCodec
from simplecqrs.errors import InvalidPayload
from tests.contracts.generated import Maker, attrs_class, dataclass, messages


class Base(pydantic.BaseModel):
    """Of all models here."""

    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True, frozen=True)


def model(name: str, fields: dict[str, Any], bases: tuple[type, ...]) -> type[Any]:
    """Make a pydantic model."""
    made: type[Any] = pydantic.create_model(name, __base__=(Base, *bases), **{k: (t, ...) for k, t in fields.items()})
    return made


def struct(name: str, fields: dict[str, Any], bases: tuple[type, ...]) -> type[Any]:
    """Make a msgspec struct."""
    return msgspec.defstruct(name, [*fields.items()], bases=(msgspec.Struct, *bases), frozen=True)


MAKERS: list[Maker] = [attrs_class, dataclass, model, struct]
CODECS = [JSONCodec(), OrjsonCodec(), MsgspecCodec()]
CHEAPLY = settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


@CHEAPLY
@given(messages(MAKERS), st.sampled_from(CODECS), st.sampled_from(CODECS))
def test_generated_messages_make_the_round_trip(message: Any, writer: JSONCodec, reader: JSONCodec) -> None:
    """Whatever classes they are of, and nest, and whoever wrote them."""
    assert reader.decode(type(message), writer.encode(message)) == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
MODEL: Any = model("Odd", {"a": int, "b": str | None, "c": list[bytes]}, ())
STRUCT: Any = struct("Odd", {"a": int, "b": str | None, "c": list[bytes]}, ())


@pytest.mark.parametrize("kind", [MODEL, STRUCT], ids=["model", "struct"])
@settings(CHEAPLY, max_examples=40)
@given(data=st.dictionaries(st.sampled_from("abcd"), JSON))
def test_all_codecs_say_the_same_of_any_data(kind: Any, data: Any) -> None:
    """The same message, or the same errors."""
    payload = msgspec.json.encode(data)

    said = []
    for codec in CODECS:
        try:
            said.append(codec.decode(kind, payload))
        except InvalidPayload as error:
            said.append(error.errors)

    assert said[0] == said[1] == said[2]
