"""What of pydantic's models and msgspec's structs a log line shows."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, Field, SecretStr

from simplecqrs import Command, message
from simplecqrs.middlewares.masking import hiding, shown_fields


class Card(BaseModel):
    """Is part of a message."""

    owner: str
    number: str = Field(repr=False)


class Pay(BaseModel, Command[None]):
    """A message."""

    card: Card
    pin: SecretStr
    token: str


@message(name="refund")
class Refund(msgspec.Struct, Command[None]):  # type: ignore[misc]
    """A message whose fields cannot be marked."""

    owner: str
    token: str


def test_fields_that_pydantic_does_not_show_are_not_shown() -> None:
    """Marked, secret by their type, or masked."""
    pay = Pay(card=Card(owner="ada", number="s3cret"), pin=SecretStr("s3cret"), token="s3cret")

    assert shown_fields(pay, hiding(["*token*"])) == {"card": "Card(owner='ada')", "pin": "<SecretStr>"}


def test_a_structs_fields_are_masked_by_their_names() -> None:
    """They know no mark."""
    assert shown_fields(Refund("ada", "s3cret"), hiding(["*token*"])) == {"owner": "'ada'"}
