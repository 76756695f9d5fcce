"""The listener: hears of commits by PostgreSQL's LISTEN, on a connection of its own, and rings the bells."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any, cast
from uuid import uuid4

from django.db import connections

from django_cqrs.bells import Bells
from django_cqrs.conf import settings
from django_cqrs.schemas import schemas_of, with_tables
from django_cqrs.wakeup import channel_of, channel_prefix
from simplecqrs.backoff import pause

__all__ = ["Listener", "listening"]

log = logging.getLogger("django_cqrs")

#: Seconds that a notification of our own may take; and the first and longest wait before connecting anew.
PROBE, FIRST, LONGEST = 2.0, 0.1, 5.0
#: Seconds between two looks for schemas that are new.
LOOK = 10.0
#: How soon the loss of the server is noticed where nobody says good-bye; what a project says itself goes before it.
KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "connect_timeout": 10}


@contextmanager
def listening(aliases: Iterable[str], bells: Bells) -> Generator[None, None, None]:
    """Listen on those aliases that can be listened on, as long as the context lasts."""
    with ExitStack() as stack:
        if settings().wakeup == "notify":
            for alias in aliases:
                if connections[alias].vendor == "postgresql":
                    stack.enter_context(closing(Listener(alias, bells))).start()
        yield


class Listener:
    """
    Hear of the commits of one alias, in a thread.

    It survives the server's restarts.  Where LISTEN does not work, as behind a pooler that lends connections for
    single transactions, it says so once and ends; the loops go on polling.

    Args:
        alias: whose queues these are; LISTEN_ALIAS may name another alias to connect by.
    """

    def __init__(self, alias: str, bells: Bells) -> None:
        self._alias = alias
        self._by = settings().listen_alias.get(alias, alias)
        self._bells = bells
        self._closing = threading.Event()
        self._ear, self._wake = socket.socketpair()
        self._failures = 0
        self._look_at = 0.0
        #: The schema of each channel; None: the one in which a new connection is.
        self._schemas: dict[str, str | None] = {}
        self._thread = threading.Thread(target=self._run, name=f"cqrs listener {alias}", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing.set()
        self._wake.send(b".")
        self._thread.join(PROBE)
        self._ear.close()
        self._wake.close()

    def _run(self) -> None:
        driver = _psycopg(self._by)
        if driver is None:
            log.warning("%r: without psycopg 3 nobody listens for NOTIFY; relay and consumers poll", self._alias)
            return
        while self._listen(driver) and not self._closing.is_set():
            self._failures += 1
            self._closing.wait(pause(self._failures, first=FIRST, cap=LONGEST))

    def _listen(self, driver: Any) -> bool:
        """Listen until the connection is lost; false if there is no sense in trying again."""
        try:
            with (
                closing(driver.connect(**_parameters(self._by), autocommit=True)) as raw,
                self._selecting(raw) as ready,
            ):
                # For those that come with the answer to LISTEN.
                raw.add_notify_handler(lambda notice: self._ring(notice.channel, notice.payload))
                if not self._begin(raw, ready):
                    return False
                while not self._closing.is_set():
                    self._hear(raw, ready, LOOK if settings().schemas is not None else None)
                    self._listen_to_more(raw)
        except Exception as error:  # noqa: BLE001 - whatever it is, polling goes on meanwhile
            if not self._failures:
                log.warning("%r: the listener has no connection; the loops poll until it has: %s", self._alias, error)
        finally:
            self._bells.hearing.discard(self._alias)
            self._bells.ring(self._alias)  # for they are too patient now
        return True

    @contextmanager
    def _selecting(self, raw: Any) -> Generator[selectors.BaseSelector, None, None]:
        """Give what waits for the connection, or for the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(raw.fileno(), selectors.EVENT_READ)
            selector.register(self._ear, selectors.EVENT_READ)
            yield selector

    def _begin(self, raw: Any, ready: selectors.BaseSelector) -> bool:
        """Listen, and see whether a notification from another connection arrives; false if LISTEN is of no use."""
        if not self._try(raw, ready):
            raw.execute("UNLISTEN *")  # a pooler hands it to the server's connection that listens now, in vain
            log.warning(
                "%r: LISTEN hears nothing, as behind pgbouncer's transaction pooling; relay and consumers poll.  "
                "Name an alias that connects directly in LISTEN_ALIAS of DJANGO_CQRS", self._alias
            )  # fmt: skip
            return False
        if self._failures:
            log.warning("%r: the listener is back", self._alias)
            self._failures = 0
        self._bells.hearing.add(self._alias)
        self._bells.ring(self._alias)  # for what was committed while nobody listened
        return True

    def _try(self, raw: Any, ready: selectors.BaseSelector) -> bool:
        """Listen, and send a notification by the way that commits go."""
        token, heard = f"probe:{uuid4()}", set[str]()
        self._schemas = {}
        try:
            with connections[self._alias].cursor() as cursor:
                if settings().schemas is None:
                    cursor.execute(f"SELECT {channel_of(None)}", [channel_prefix()])
                    self._listen_to(raw, {cursor.fetchone()[0]: None})
                else:
                    self._listen_to(raw, self._channels())
                for schema in list(self._schemas.values())[:1]:
                    cursor.execute(f"SELECT pg_notify({channel_of(schema)}, %s)", [channel_prefix(), token])
        finally:
            connections[self._alias].close()
        if not self._schemas:  # none has our tables yet
            return True
        ends = time.monotonic() + PROBE
        while token not in heard and time.monotonic() < ends and not self._closing.is_set():
            heard |= self._hear(raw, ready, ends - time.monotonic())
        return token in heard or self._closing.is_set()

    def _channels(self) -> dict[str, str | None]:
        """Return the channels of the setting SCHEMAS."""
        found = with_tables(self._alias, schemas_of(self._alias))
        return {f"{channel_prefix()}{number}": schema for schema, number in found.items()}

    def _listen_to(self, raw: Any, channels: Mapping[str, str | None]) -> None:
        new = [channel for channel in channels if channel not in self._schemas]
        if new:
            raw.execute("; ".join(f'LISTEN "{channel}"' for channel in new))
        self._schemas.update(channels)

    def _listen_to_more(self, raw: Any) -> None:
        """Listen to schemas that have come since one looked last."""
        if settings().schemas is None or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK
        try:
            self._listen_to(raw, self._channels())
        finally:
            connections[self._alias].close()

    def _hear(self, raw: Any, ready: selectors.BaseSelector, seconds: float | None) -> set[str]:
        """Wait for notifications, or for the end, and ring for them."""
        ready.select(seconds)
        raw.pgconn.consume_input()  # a third of the time that ``raw.notifies`` takes to find one
        heard = set[str]()
        while (notice := raw.pgconn.notifies()) is not None:
            name = notice.extra.decode()
            self._ring(notice.relname.decode(), name)
            heard.add(name)
        return heard

    def _ring(self, channel: str, name: str) -> None:
        self._bells.ring(self._alias, [name], self._schemas.get(channel))


def _psycopg(alias: str) -> Any:
    """Return psycopg 3 if Django uses it."""
    driver = cast(Any, connections[alias]).Database
    return driver if driver.__name__ == "psycopg" else None


def _parameters(alias: str) -> dict[str, Any]:
    """Return what Django connects with, but for what belongs to its own wrapper."""
    found: dict[str, Any] = cast(Any, connections[alias]).get_connection_params()
    found.pop("cursor_factory", None)
    return {**KEEPALIVE, "application_name": "cqrs listener", **found}
