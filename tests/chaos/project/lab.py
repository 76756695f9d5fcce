"""
A short story that is gone through again and again, in processes forked from one that is warm.

Six events of three keys: one is refused by the broker twice, and one fails at its handler twice, so that both are dead
until an operator retries them; two are for later, which is at once.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.chaos.checker import check
from tests.chaos.evidence import gather, read_log
from tests.chaos.project.faults import FAULT
from tests.chaos.project.way import WAY

__all__ = ["FOLDER", "PATIENCE", "clear", "faults", "fork", "go", "produce", "retry", "set_up", "settled"]

#: What is to be done: key, deed, steps.
DEEDS = (("a", "first", 2), ("b", "second", 2), ("timed", "third", 2))
EVENTS = sum(steps for _, _, steps in DEEDS)
#: Key and version of the events that are refused, or that fail; and how often.
REFUSED, FAILING = ("b", 1), ("a", int(os.environ.get("CHAOS_FAILING", "1")))
TIMES = int(os.environ.get("CHAOS_TIMES", "2"))
FOLDER = Path(os.environ.get("CHAOS_FOLDER", "/nonexistent"))
TABLES = (
    "chaos_deed", "chaos_counter", "chaos_handled", "chaos_effect", "chaos_door", "cqrs_seen", "cqrs_dead",
    "cqrs_blocked", "cqrs_scheduled", "cqrs_inbox_parked", "cqrs_inbox", "cqrs_outbox_parked", "cqrs_outbox",
)  # fmt: skip
PATIENCE = float(os.environ.get("CHAOS_LAB_PATIENCE", "20"))


def set_up() -> None:
    """Prepare a process from which others are forked; what is imported late is imported now."""
    import django

    django.setup()
    plant()
    clear()
    if not FAULT:
        go()


def fork(armed: str = "", *, way: Callable[[], None] | None = None) -> tuple[int, list[str]]:
    """Go the way in a process of its own; return how it ended, and the points that it has passed if it did not die."""
    from django.db import connections

    connections.close_all()
    gc.freeze()
    report = FOLDER / "passed.json"
    report.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        code = 1
        try:
            WAY.set_out(armed)
            (way or go)()
            report.write_text(json.dumps(WAY.passed))
            code = 0
        except BaseException:  # noqa: BLE001 - said where the parent's output goes, and by the code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, json.loads(report.read_text()) if report.exists() else []


def go() -> None:
    """Produce, ship, fetch, handle and retry what is dead, until nothing waits any more."""
    from django.conf import settings

    from django_cqrs.consumers import consumers
    from django_cqrs.promotion import promoters
    from django_cqrs.relay import relays

    random.seed(1)
    shipping = [*promoters(["default"]), *relays(routes=[settings.BROKER], databases=["default"])]
    jobs: list[Any] = [*shipping, *consumers("ledger")]
    steps: list[Callable[[], object]] = [produce, *(job.step for job in jobs), retry]
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if not any(step() for step in steps):
            if settled():
                return
            time.sleep(0.001)
    raise TimeoutError(f"not settled within {PATIENCE} s")


def produce() -> bool:
    """Do the first deed that was not done yet, as somebody would who looks before trying again."""
    from django_cqrs import bus
    from tests.chaos.project.messages import Bump

    done = {deed for (deed,) in query("SELECT deed FROM chaos_deed")}
    for key, deed, steps in DEEDS:
        if deed not in done:
            with WAY.step("producer") as does:
                does.append(True)
                bus.send(Bump(key, deed, steps))
            return True
    return False


def retry() -> bool:
    """Give the first dead letter its attempts anew, as an operator would."""
    from django_cqrs.inspection import DjangoInspection

    for (letter,) in query("SELECT id FROM cqrs_dead ORDER BY id"):
        with WAY.step("operator") as does:
            does.append(True)
            return DjangoInspection("default").retry(letter)
    return False


def settled() -> bool:
    """Tell whether all that there is to do was done."""
    return not any(query(f"SELECT COUNT(*) FROM {table}")[0][0] for table in TABLES[6:]) and (
        query("SELECT COUNT(*) FROM chaos_handled")[0][0] >= EVENTS
    )


def query(sql: str) -> list[tuple[Any, ...]]:
    """Read."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def clear() -> None:
    """Take back all that was done."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")
    connection.close()
    for marker in FOLDER.glob("again-*"):
        marker.unlink()
    for client, stream in _stream():
        client.delete(stream)


def faults(troubles: int) -> dict[str, int]:
    """Return what the checker finds; each crash, or connection that is cut, may repeat a batch."""
    from django.conf import settings
    from django.db import connection

    log = [entry for client, stream in _stream() for entry in read_log(client, stream)]
    found = check(gather(query, log=log if settings.REDIS else None))
    number = len(query("SELECT 1 FROM chaos_deed"))
    connection.close()
    batch = settings.DJANGO_CQRS["RELAY_BATCH"]
    missing = {"events": EVENTS - number} if number != EVENTS else {}
    return {**found.faults(duplicates=troubles * batch), **missing}


def _stream() -> Iterator[tuple[Any, str]]:
    from django.conf import settings

    if settings.REDIS:
        import redis

        with redis.Redis.from_url(settings.REDIS) as client:
            yield client, f"{os.environ['CHAOS_PREFIX']}bumps"


def plant() -> None:
    """Let the broker refuse one event, and the handler fail on one, twice each."""
    from django_cqrs.brokers import DatabaseBroker
    from tests.chaos.project import handlers
    from tests.chaos.project.brokers import ChaosRedis, publish_but

    def disliked(envelope: Any) -> bool:
        event = json.loads(envelope.payload)
        return (event["key"], event["version"]) == REFUSED and again("refused")

    def refusing(publish: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Any, envelopes: Any, *, deadline: float) -> Any:
            return publish_but(lambda some: publish(self, some, deadline=deadline), envelopes, disliked)

        return wrapped

    for broker in (DatabaseBroker, ChaosRedis):
        broker.publish = refusing(broker.publish)  # type: ignore[method-assign]
    handlers.fails = failing


def failing(event: Any = None) -> None:
    """Fail on an event."""
    if event is not None and (event.key, event.version) == FAILING and again("failed"):
        raise RuntimeError("a planted failure")


def again(what: str) -> bool:
    """Tell whether something is to go wrong once more."""
    for number in range(TIMES):
        marker = FOLDER / f"again-{what}-{number}"
        if not marker.exists():
            marker.touch()
            return True
    return False
