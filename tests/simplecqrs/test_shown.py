"""What people may see of payloads and of errors' texts."""

from __future__ import annotations

import json
import zlib
from hashlib import sha256

import pytest
from attrs import field, frozen

from simplecqrs import Command
from simplecqrs.codec import JSONCodec
from simplecqrs.middlewares.log import MASK
from simplecqrs.middlewares.masking import hiding
from simplecqrs.shown import LARGEST, masked_text, secret_names, shown_payload

JSON = "application/json"
HIDDEN = hiding(MASK)


@frozen
class Card:
    """What a payment is made by."""

    number: str = field(repr=False)
    owner: str = ""


@frozen
class Pay(Command[None]):
    """A command with things that are nobody's business."""

    amount: int
    cards: list[Card]
    iban: str = field(default="", repr=lambda iban: f"...{iban[-4:]}")


class TestJSON:
    """Contents that are looked through by names."""

    def test_hidden_names_have_no_value_at_any_depth(self) -> None:
        """In objects, in lists, and in JSON that is a text inside of JSON."""
        data = {"who": "ada", "Password": {"old": 1}, "all": [{"apiToken": "x", "n": 1}], "raw": '{"secret": "x"}'}

        shown = json.loads(shown_payload(json.dumps(data).encode(), JSON, HIDDEN))

        assert shown == {
            "who": "ada", "Password": "***", "all": [{"apiToken": "***", "n": 1}], "raw": '{"secret": "***"}',
        }  # fmt: skip

    def test_what_a_class_marks_is_hidden_as_well(self) -> None:
        """Its own fields, those of what it is made of, and those that have a repr of their own."""
        payload = JSONCodec().encode(Pay(7, [Card("4111", "ada")], "DE001234"))

        shown = json.loads(shown_payload(payload, JSON, HIDDEN, kind=Pay))

        assert secret_names(Pay) == {"number", "iban"}
        assert shown == {"amount": 7, "cards": [{"number": "***", "owner": "ada"}], "iban": "***"}

    @pytest.mark.parametrize("content_type", ["application/json+zlib", "application/cloudevents+json+ZLIB; v=1"])
    def test_compressed_it_is_opened(self, content_type: str) -> None:
        """As ever where it is looked at."""
        assert shown_payload(zlib.compress(b'{"a": 1}'), content_type, HIDDEN) == '{"a": 1}'

    @pytest.mark.parametrize("payload", [b'{"password": "x"', b"\xff", b"[" * 100_000, b"9" * 5000])
    def test_what_cannot_be_read_is_not_shown(self, payload: bytes) -> None:
        """Only how large it is, and its hash: it may hold anything."""
        shown = shown_payload(payload, JSON, HIDDEN)

        assert shown.startswith("not readable as JSON (")
        assert shown.endswith(f": {len(payload):,} bytes of application/json, SHA-256 {sha256(payload).hexdigest()}")

    def test_what_is_long_is_cut_after_it_was_masked(self) -> None:
        """And nothing at all is shown of what is too large to be looked through."""
        payload = json.dumps({"token": "x" * 50, "text": "y" * 50}).encode()

        assert shown_payload(payload, JSON, HIDDEN, most=20) == '{"token": "***", "te ... 78 characters in all'
        assert "y" * 50 in shown_payload(payload, JSON, HIDDEN, most=0)
        assert shown_payload(b" " * (LARGEST + 1), JSON, HIDDEN).startswith("too large to be looked through: ")

    def test_nothing_in_it_acts_on_a_terminal(self) -> None:
        """Neither escape sequences nor marks that turn a line round."""
        assert shown_payload('{"a": "\\u009b31m\u202e"}'.encode(), JSON, HIDDEN) == '{"a": "\\x9b31m\\u202e"}'


class TestOthers:
    """Contents that are no JSON."""

    def test_the_fields_of_a_decoded_message_are_shown(self) -> None:
        """Without those that are hidden, or marked."""
        shown = shown_payload(
            b"\x08\x07", "application/x-protobuf", HIDDEN, decode=lambda: Pay(7, [Card("4111", "ada")])
        )

        assert shown == "Pay(amount=7, cards=[Card(owner='ada')], iban=...)"

    @pytest.mark.parametrize("decode", [None, lambda: 1 / 0])
    def test_of_what_nobody_can_decode_size_and_hash_are_told(self, decode: None) -> None:
        """And not one of its bytes."""
        shown = shown_payload(b"password=x", "text/plain", HIDDEN, decode=decode)

        assert shown.startswith("not decoded")
        assert "10 bytes of text/plain, SHA-256 " in shown
        assert "password" not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Login(user='ada', password='x y') failed", "Login(user='ada', password=***) failed"),
        ('{"token": "abc", "a": 1}', '{"token": ***, "a": 1}'),
        (r"{\"token\": \"a b\", \"a\": 1}", r"{\"token\": ***, \"a\": 1}"),
        ("GET /?token=abc==&b=1", "GET /?token=***&b=1"),
        ("secrets={'a': 1} b", "secrets=*** b"),
        ("password=Decimal('5') c", "password=*** c"),
        ("auth_token: Bearer abc.def rest", "auth_token: *** rest"),
        ("a=b=password=x", "a=b=password=***"),
        ("key (who)=(ada) already exists", "key (who)=(ada) already exists"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_in_a_text_the_values_behind_hidden_names_are_masked(text: str, shown: str) -> None:
    """As they stand in reprs, in JSON and in addresses."""
    assert masked_text(text, HIDDEN) == shown


@pytest.mark.parametrize("piece", ["a=b:", "token=(", 'token="\\a', "token=[", "tokens", "password=\\"])
def test_a_text_that_is_made_for_it_takes_no_long_time(piece: str) -> None:
    """Errors' texts come from outside as well."""
    assert len(masked_text(piece * 2000, HIDDEN)) > 0
