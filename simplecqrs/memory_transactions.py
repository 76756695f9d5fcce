"""Transactions and locks for dicts: what the in-memory queue has in place of a database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Hashable, MutableMapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from attrs import define, field

__all__ = ["MemoryTransactions"]

K = TypeVar("K")
V = TypeVar("V")

_MISSING: Any = object()


@define(eq=False)
class _Transaction:
    undo: list[Callable[[], object]] = field(factory=list[Callable[[], object]])
    at_commit: list[Callable[[], object]] = field(factory=list[Callable[[], object]])


class MemoryTransactions:
    """
    Change dicts in transactions, one per thread; a nested one is a savepoint.

    What an exception leaves is undone.  A lock belongs to the thread's transaction and is released with it.

    Attributes:
        mutex: hold it while looking at a dict that other threads may change.
    """

    def __init__(self) -> None:
        self.mutex = threading.Condition(threading.RLock())
        self._local = threading.local()
        self._locks: dict[Hashable, _Transaction] = {}

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Open a transaction, or a savepoint in the one that is open."""
        if self._current is not None:
            with self._savepoint(self._current):
                yield
            return
        transaction = self._local.transaction = _Transaction()
        try:
            yield
        except BaseException:
            self._undo(transaction, 0)
            raise
        else:
            self._commit(transaction)
        finally:
            self._local.transaction = None
            self._unlock(transaction)

    def put(self, table: MutableMapping[K, V], key: K, value: V) -> None:
        """Set an item; it is what it was if the transaction is rolled back."""
        with self.mutex:
            self._remember(table, key)
            table[key] = value

    def drop(self, table: MutableMapping[K, V], key: K) -> bool:
        """Remove an item, and tell whether it was there; it is back if the transaction is rolled back."""
        with self.mutex:
            if key not in table:
                return False
            self._remember(table, key)
            del table[key]
            return True

    def at_commit(self, call: Callable[[], object]) -> None:
        """Call this when the transaction is committed, at once if none is open."""
        if self._current is not None:
            self._current.at_commit.append(call)
            return
        with self.mutex:
            call()

    def lock(self, name: Hashable, *, wait: bool = False, timeout: float | None = None) -> bool:
        """
        Take a lock for the transaction that is open; False if another one has it and we do not wait.

        Args:
            timeout: seconds after which we do not wait any more.
        """
        assert self._current is not None, "a lock lasts as long as a transaction: open one"
        with self.mutex:
            if not self.mutex.wait_for(partial(self._is_free, name), timeout if wait else 0):
                return False
            self._locks[name] = self._current
            return True

    def _is_free(self, name: Hashable) -> bool:
        return self._locks.get(name, self._current) is self._current

    @property
    def _current(self) -> _Transaction | None:
        return getattr(self._local, "transaction", None)

    @contextmanager
    def _savepoint(self, transaction: _Transaction) -> Generator[None, None, None]:
        undo, at_commit = len(transaction.undo), len(transaction.at_commit)
        try:
            yield
        except BaseException:
            self._undo(transaction, undo)
            del transaction.at_commit[at_commit:]
            raise

    def _remember(self, table: MutableMapping[K, V], key: K) -> None:
        before = table.get(key, _MISSING)
        if self._current is not None:
            self._current.undo.append(lambda: _restore(table, key, before))

    def _commit(self, transaction: _Transaction) -> None:
        with self.mutex:
            for call in transaction.at_commit:
                call()

    def _undo(self, transaction: _Transaction, since: int) -> None:
        with self.mutex:
            while len(transaction.undo) > since:
                transaction.undo.pop()()

    def _unlock(self, transaction: _Transaction) -> None:
        with self.mutex:
            for name in [name for name, owner in self._locks.items() if owner is transaction]:
                del self._locks[name]
            self.mutex.notify_all()


def _restore(table: MutableMapping[K, V], key: K, value: V) -> None:
    if value is _MISSING:
        table.pop(key, None)
    else:
        table[key] = value
