"""Idempotency keys in memory: for tests, and for what lives no longer than its process."""

from __future__ import annotations

from contextlib import AbstractContextManager

from simplecqrs.errors import IdempotencyKeyInUse
from simplecqrs.idempotency import Claim, Kept
from simplecqrs.memory_transactions import MemoryTransactions
from simplecqrs.messages import Message

__all__ = ["MemoryIdempotency"]


class MemoryIdempotency:
    """
    An ``IdempotencyStore`` in memory; it forgets nothing.

    Args:
        wait: seconds that a command waits for another one of its key.
        transactions: those of the commands.  Default: some of its own, see ``transaction``.

    >>> from attrs import frozen
    >>> from simplecqrs import Command, Mediator, Registry
    >>> @frozen
    ... class Draw(Command[int]):
    ...     most: int
    >>> registry, store, drawn = Registry(), MemoryIdempotency(), iter(range(10))
    >>> registry.add(Draw, lambda command: next(drawn))
    >>> bus = Mediator(registry, idempotency=store, transaction=store.transaction)
    >>> bus.send(Draw(6), idempotency_key="a"), bus.send(Draw(6), idempotency_key="a"), bus.send(Draw(6))
    (0, 0, 1)
    """

    def __init__(self, *, wait: float = 10.0, transactions: MemoryTransactions | None = None) -> None:
        self._wait = wait
        self._transactions = transactions or MemoryTransactions()
        self._kept: dict[str, Kept] = {}

    def transaction(self, command: Message, /) -> AbstractContextManager[None]:
        """Open the transaction of a command: what a mediator takes as ``transaction=``."""
        return self._transactions.transaction()

    def claim(self, command: Message, claim: Claim, /, *, wait: bool) -> Kept | None:
        """Write a claim down under a lock that lasts as long as the transaction, or return what is kept."""
        if not self._transactions.lock(("idempotency", claim.digest), wait=wait, timeout=self._wait):
            raise IdempotencyKeyInUse(f"another {claim.name} of the same idempotency key is still at work")
        kept = self._kept.get(claim.digest)
        if kept is None:
            self._transactions.put(self._kept, claim.digest, Kept(claim.name, claim.fingerprint))
        return kept

    def keep(self, command: Message, claim: Claim, answer: bytes, /) -> None:
        """Keep the answer."""
        self._transactions.put(self._kept, claim.digest, Kept(claim.name, claim.fingerprint, answer))
