"""The wake-up: a commit that puts work into a queue tells those who wait for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_cqrs.bells import is_ringing_here, ring_here
from django_cqrs.conf import settings, table
from django_cqrs.doorbells import doorbells
from django_cqrs.schemas import known_schema, literal, quoted

__all__ = ["channel_of", "channel_prefix", "wake_after_commit"]

log = logging.getLogger("django_cqrs")

OUTBOX = table("outbox")
#: Seconds between two notifications for one queue, in the long run, and how many may come at once before.  Whoever was
#: woken by the last one looks again after 2, 4 and 8 milliseconds, and so finds what came in between.
GAP, BURST = 0.002, 5
#: Seconds for which one remembers a channel: it is another one if somebody makes the tables anew.
FRESH = 60.0


def channel_prefix() -> str:
    """Return what the channel's name begins with; the number of the table follows, so that it is a schema's own."""
    return table("wakeup_")


def channel_of(schema: str | None) -> str:
    """Return the SQL of the channel's name, with the prefix as its parameter; None: of the schema that one is in."""
    if schema is None:
        return f"%s || '{OUTBOX}'::regclass::oid"
    named = literal(f"{quoted(schema)}.{OUTBOX}").replace("%", "%%")
    # Else the table is one for all tenants, in a schema that they share.
    return f"%s || coalesce(to_regclass({named}), '{OUTBOX}'::regclass)::oid"


def wake_after_commit(alias: str, names: set[str]) -> None:
    """
    Wake those who work these queues, once the transaction that is open is committed.

    It costs a transaction at most one statement, whatever it stores, and that one comes after the commit: a NOTIFY
    inside of it would make all commits of the server wait for each other.

    Args:
        names: of queues, with their box: ``inbox:mailing``.
    """
    connection = connections[alias]
    if not _is_of_use(connection) or _in_testcase(connection):
        return
    if not connection.in_atomic_block:
        if connection.get_autocommit():
            _wake(connection, known_schema(connection), names)
        return  # else nobody tells when it is committed: they poll
    schema = known_schema(connection)  # it may be another one when the transaction is committed
    for entry in connection.run_on_commit:
        waiting: Any = entry[1]
        if isinstance(waiting, Wakeup) and waiting.schema == schema:
            waiting.names |= names  # it is gone from there if its savepoint was rolled back
            return
    connection.on_commit(Wakeup(connection, schema, set(names)), robust=True)
    # Nobody shall wait for what others do after the commit, and some of them raise.
    connection.run_on_commit.insert(0, connection.run_on_commit.pop())


class Wakeup:
    """What is called after the commit of one transaction."""

    __slots__ = ("_connection", "names", "schema")

    def __init__(self, connection: BaseDatabaseWrapper, schema: str | None, names: set[str]) -> None:
        self._connection = connection
        self.schema = schema
        self.names = names

    def __call__(self) -> None:
        _wake(self._connection, self.schema, self.names)


def _is_of_use(connection: BaseDatabaseWrapper) -> bool:
    return _can_notify(connection) or is_ringing_here() or bool(settings().rung_consumers)


def _can_notify(connection: BaseDatabaseWrapper) -> bool:
    return connection.vendor == "postgresql" and settings().wakeup == "notify"


def _in_testcase(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a test will roll it back; its ``captureOnCommitCallbacks`` shall not find what is not its own."""
    return any(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks)


def _wake(connection: BaseDatabaseWrapper, schema: str | None, names: set[str]) -> None:
    ring_here(connection.alias, names, schema)
    rung = settings().rung_consumers
    for name in names:
        box, _, queue = name.partition(":")
        if box == "inbox" and queue in rung:
            doorbells.ring(queue)
    if _can_notify(connection):
        _notify(connection, schema, _due(connection.alias, schema, names))


#: Until when the notifications were sent ahead of their time.
_ahead: dict[tuple[str, str | None, str], float] = {}
_failing: set[str] = set()
#: The channels of aliases and schemas, and when one asked for them.
_channels: dict[tuple[str, str | None], tuple[str, float]] = {}


def _may_be_another_schema(schema: str | None) -> bool:
    """Tell whether what is known of this schema was another's: nobody has said in which one we are."""
    return schema is None and settings().schemas is not None


def _due(alias: str, schema: str | None, names: set[str]) -> list[str]:
    """
    Return the names for which not too much was sent just now; all, where another schema may have been meant then.

    What comes now and then is always told, also if two come at once; who writes all the time is held to the rate (the
    generic cell rate algorithm).  What is not told comes less than a gap after something that was.
    """
    if _may_be_another_schema(schema):
        return list(names)
    now = time.monotonic()
    ahead = {name: max(_ahead.get((alias, schema, name), 0.0), now) for name in names}
    due = [name for name in names if ahead[name] - now <= (BURST - 1) * GAP]
    _ahead.update(((alias, schema, name), ahead[name] + GAP) for name in due)
    return due


def _notify(connection: BaseDatabaseWrapper, schema: str | None, names: Sequence[str]) -> None:
    """Send notifications; if that fails, those who wait poll."""
    if not names:
        return
    alias = connection.alias
    try:
        channel, since = _channels.get((alias, schema), ("", 0.0))
        if channel and time.monotonic() - since < FRESH:
            with connection.cursor() as cursor:
                cursor.execute("; ".join(f'NOTIFY "{channel}", {literal(name)}' for name in names))
        else:
            _notify_and_learn(connection, schema, names)
    except Exception as error:  # noqa: BLE001 - what was committed is committed, whatever happens to this
        for name in names:
            _ahead.pop((alias, schema, name), None)
        if alias not in _failing:
            _failing.add(alias)
            log.warning("%r: nobody could be woken by NOTIFY, so they poll: %s", alias, error)
    else:
        _failing.discard(alias)


def _notify_and_learn(connection: BaseDatabaseWrapper, schema: str | None, names: Sequence[str]) -> None:
    """Send notifications where the channel is not known, and remember it: to ask for it takes half of the time."""
    channel, prefix = channel_of(schema), channel_prefix()
    sent = ", ".join([f"pg_notify({channel}, %s)"] * len(names))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {channel}, {sent}", [prefix, *(value for name in names for value in (prefix, name))])
        if not _may_be_another_schema(schema):
            _channels[connection.alias, schema] = cursor.fetchone()[0], time.monotonic()
