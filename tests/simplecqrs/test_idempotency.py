"""Idempotency keys in memory, and what a mediator needs for them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import Factory, define, field, frozen

from simplecqrs import UNSET, Command, Mediator, Registry, Unset
from simplecqrs.codec import JSONCodec
from simplecqrs.codec.port import Codec
from simplecqrs.errors import InvalidMessage, NotConfigured
from simplecqrs.fingerprints import fingerprint
from simplecqrs.idempotency import Claim, Kept
from simplecqrs.memory_idempotency import MemoryIdempotency
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.messages import Message
from simplecqrs.pipeline import Middleware
from tests.contracts.idempotency import IdempotencyContract, Pay, Shop


@define
class Ledger:
    """Texts that are kept in transactions."""

    transactions: MemoryTransactions = field(factory=MemoryTransactions)
    rows: dict[int, str] = field(factory=dict[int, str])

    def write(self, text: str) -> bool:
        """Keep a text."""
        with self.transactions.mutex:
            self.transactions.put(self.rows, max(self.rows, default=0) + 1, text)
        return True

    def written(self) -> list[str]:
        """Return all texts."""
        return list(self.rows.values())


class OpaqueCodec:
    """A codec that gives no plain data."""

    content_type = "text/plain"

    def encode(self, message: Message, /) -> bytes:
        """Say what it is."""
        return repr(message).encode()

    def decode(self, kind: type[Any], payload: bytes, /) -> Any:
        """Nobody asks."""
        raise NotImplementedError


class TestMemoryIdempotency(IdempotencyContract):
    """Keys in a dict."""

    @pytest.fixture
    def ledger(self) -> Ledger:
        """Return an empty one."""
        return Ledger()

    @pytest.fixture
    def shop(self, ledger: Ledger) -> Shop:
        """Return a shop that writes into a dict."""
        self.store = store = MemoryIdempotency(wait=self.patience, transactions=ledger.transactions)

        def bus(registry: Registry, middlewares: tuple[Middleware, ...]) -> Mediator:
            return Mediator(registry, idempotency=store, transaction=store.transaction, middlewares=middlewares)

        return Shop(bus, ledger.write, ledger.written)

    @pytest.fixture
    def impatient(self, shop: Shop) -> Mediator:
        """Return a mediator whose store knows the same keys and waits no longer than a moment."""
        store = MemoryIdempotency(wait=0.05, transactions=self.store._transactions)
        store._kept = self.store._kept
        return Mediator(shop.registry, idempotency=store, transaction=store.transaction)


@frozen
class Item:
    """Part of a command."""

    tags: frozenset[int] = frozenset()
    number: int = 0


@frozen
class Order(Command[None]):
    """Holds sets in all places."""

    items: list[Item] = Factory(list[Item])
    by_name: dict[str, Item] = Factory(dict[str, Item])
    pairs: tuple[frozenset[int], ...] = ()
    numbers: list[int] = Factory(list[int])
    note: str | Unset = UNSET


ONE, TWO = frozenset([0, 8]), frozenset([8, 0])


@pytest.mark.parametrize("codec", [JSONCodec(), OpaqueCodec()], ids=["JSON", "opaque"])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Order([Item(number=1)]), Order([Item(number=2)])),
        (Order(numbers=[1, 2]), Order(numbers=[2, 1])),
        (Order(by_name={"a": Item()}), Order(by_name={"b": Item()})),
        (Order(note=""), Order()),
        (Order(pairs=(frozenset([1]),)), Order(pairs=(frozenset([1]), frozenset()))),
    ],
    ids=["fields", "order of a list", "keys", "unset", "length"],
)
def test_what_is_not_the_same_has_another_fingerprint(first: Order, second: Order, codec: Codec) -> None:
    """And another name makes another one, too."""
    assert fingerprint(first, "Order", codec) != fingerprint(second, "Order", codec)
    assert fingerprint(first, "Order", codec) != fingerprint(first, "Orders", codec)


def test_sets_and_keys_have_no_order_in_a_fingerprint() -> None:
    """Wherever they are."""
    assert list(ONE) != list(TWO)
    first = Order([Item(ONE)], {"a": Item(ONE), "b": Item()}, (ONE, TWO))
    second = Order([Item(TWO)], {"b": Item(), "a": Item(TWO)}, (TWO, ONE))

    assert fingerprint(first, "Order", JSONCodec()) == fingerprint(second, "Order", JSONCodec())


def test_a_mediator_without_a_store_says_what_it_needs() -> None:
    """Store and transactions, which belong together."""
    registry = Registry()
    registry.add(Pay, lambda command: 1)

    with pytest.raises(NotConfigured, match=r"Mediator\(idempotency=store, transaction=store\.transaction\)"):
        Mediator(registry).send(Pay("book"), idempotency_key="k")


def test_a_store_without_transactions_is_an_error_before_the_first_message() -> None:
    """An answer that is not stored with the effect is worth nothing."""
    with pytest.raises(NotConfigured, match="idempotency= needs transaction="):
        Mediator(Registry(), idempotency=MemoryIdempotency()).check()


def test_an_answer_of_an_older_release_that_cannot_be_read_is_no_fault_of_the_client() -> None:
    """It is not the command that is invalid."""

    class Old:
        def claim(self, command: Message, claim: Claim, /, *, wait: bool) -> Kept | None:
            return Kept(claim.name, claim.fingerprint, b'{"answer":"text"}')

        def keep(self, command: Message, claim: Claim, answer: bytes, /) -> None:
            raise AssertionError("it was kept before")

    registry = Registry()
    registry.add(Pay, lambda command: 1)
    bus = Mediator(registry, idempotency=Old(), transaction=MemoryIdempotency().transaction)

    with pytest.raises(InvalidMessage, match="the answer that was stored for Pay cannot be read"):
        bus.send(Pay("book"), idempotency_key="k")
