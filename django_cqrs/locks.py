"""What is held while a lane or a feed is worked: transactions that are ours alone, and SQLite's locks."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cqrs.errors import InsideTransaction, TransactionBroken
from django_cqrs.models import Lane
from simplecqrs.errors import NotConfigured

__all__ = [
    "LANE",
    "file_lock",
    "held_lane",
    "impatient",
    "is_given_up",
    "lane_transaction",
    "refuse_inside",
    "write_first",
]

#: Set on a connection while a lane is held in its transaction: a message handled there needs no savepoint.
LANE = "_cqrs_lane"
#: Milliseconds that a worker on SQLite waits for others that write.
MOMENT = 100
_holding = threading.local()


def refuse_inside(connection: BaseDatabaseWrapper) -> bool:
    """
    Raise InsideTransaction if a transaction is open that somebody else will commit, or not.

    Returns:
        Whether a test's transaction is open, in which nothing is ever committed.
    """
    if not connection.in_atomic_block:
        return False
    if not getattr(connection.atomic_blocks[-1], "_from_testcase", False):
        raise InsideTransaction(
            f"relay and consumers commit what they do, but a transaction is open on {connection.alias!r}; call them "
            "outside of `atomic`, and take ATOMIC_REQUESTS off the view with @transaction.non_atomic_requests"
        )
    return True


@contextmanager
def lane_transaction(alias: str) -> Generator[None, None, None]:
    """
    Open the transaction in which a lane is held.

    Raises:
        TransactionBroken: if it was given up and nobody said so: it would be rolled back in silence.
    """
    connection = connections[alias]
    nested = refuse_inside(connection)
    with transaction.atomic(using=alias):
        setattr(connection, LANE, not nested)
        before, _holding.alias = held_lane(), alias
        try:
            yield
            if is_given_up(connection):
                raise TransactionBroken(
                    f"what was handled on {alias!r} was rolled back after an error that somebody caught, a middleware "
                    "perhaps; let the error pass"
                )
            if not nested:
                # What is called after the commit fails for itself: neither are the other messages of a batch to lose
                # their calls, nor is a message that is done and gone to be taken for one that has failed.
                calls: Any = connection.run_on_commit
                connection.run_on_commit = [(savepoints, call, True) for savepoints, call, _ in calls]  # type: ignore[misc]
        finally:
            _holding.alias = before
            delattr(connection, LANE)


def is_given_up(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether Django will roll a transaction back, or PostgreSQL will, whose COMMIT says nothing of it."""
    if connection.needs_rollback:
        return True
    if connection.vendor != "postgresql" or connection.connection is None:
        return False
    raw: Any = connection.connection
    return int(raw.info.transaction_status) == 3  # libpq's PQTRANS_INERROR, in psycopg 3 and 2


def held_lane() -> str | None:
    """Return the alias on which a lane is held in this thread, the last one of several; None: there is none."""
    return getattr(_holding, "alias", None)


@contextmanager
def impatient(connection: BaseDatabaseWrapper) -> Generator[None, None, None]:
    """
    Wait for SQLite's write lock no longer than a moment.

    A handler keeps it as long as it works: the other workers are to look again later, not to fail.
    """
    connection.ensure_connection()
    raw: Any = connection.connection
    raw.execute(f"PRAGMA busy_timeout = {MOMENT}")
    try:
        yield
    finally:
        raw.execute(f"PRAGMA busy_timeout = {int(connection.settings_dict['OPTIONS'].get('timeout', 5) * 1000)}")


def write_first(connection: BaseDatabaseWrapper) -> None:
    """
    Take SQLite's write lock at once.

    A transaction that reads first and writes later fails with "database is locked" without waiting, unless it was
    begun as IMMEDIATE.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {Lane._meta.db_table} WHERE id IS NULL")


_files: dict[str, int] = {}
_files_lock = threading.Lock()


@contextmanager
def file_lock(connection: BaseDatabaseWrapper, name: str) -> Generator[bool, None, None]:
    """Hold an exclusive lock beside the database's file; false if somebody has it."""
    path = _lock_path(connection, name)
    held = f"{path} {name}"
    with _files_lock:
        if held in _files:  # another thread of this process
            mine = None
        else:
            mine = _files[held] = _lock_file(path)
    if mine is None:
        yield False
        return
    try:
        yield mine >= 0
    finally:
        with _files_lock:
            del _files[held]
            if mine >= 0:
                os.close(mine)


def _lock_path(connection: Any, name: str) -> str:
    if connection.is_in_memory_db():  # it belongs to this process, whose dictionary is the lock then
        return os.devnull
    safe = "".join(c if c.isalnum() else "-" for c in name)
    return f"{connection.settings_dict['NAME']}.{safe}.lock"


def _lock_file(path: str) -> int:
    """Return a descriptor that holds the lock, or -1."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        raise NotConfigured(
            "SQLite together with another broker needs file locks of a POSIX system; use the database broker, or "
            "PostgreSQL"
        ) from None
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:  # a loop waits until an error of the database has passed
        raise OperationalError(f"{path} is needed beside the database and cannot be opened: {error}") from error
    if path == os.devnull:
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            return -1
        raise OperationalError(f"{path} cannot be locked, as its file system says: {error}") from error
    return descriptor
