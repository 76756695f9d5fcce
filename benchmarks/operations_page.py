"""One database that is full, and how long the pages of the admin take on it; printed as a line of JSON."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.servers import prepare

PENDING, DEAD, SAGAS, CROWD = 1_000_000, 10_000, 10_000, 20_000
CAUSES = [f"ConnectionError: the bank number {n} is down" for n in range(5)]
#: How many of a thousand sagas have a status.
STATUSES = {"COMPLETED": 900, "RUNNING": 50, "WAITING": 20, "COMPENSATED": 10, "FAILED": 10, "UNKNOWN": 10}
ROUNDS, FEW = 25, 5


def main(*, full: bool) -> None:
    """Fill, measure, print."""
    prepare()
    from django.contrib.auth.models import User
    from django.test import Client

    fill()
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    found = {"operations": measured(client, "operations/", ROUNDS), "causes": measured(client, "dead/causes/", ROUNDS)}
    if full:
        found |= lists(client)
    print(json.dumps(found))


def measured(client: Any, page: str, rounds: int) -> dict[str, float]:
    """Ask for a page, after two times to begin with."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    times = []
    for _ in range(rounds + 2):
        began = time.perf_counter()
        response = client.get(f"/admin/django_cqrs/{page}")
        times.append(1000 * (time.perf_counter() - began))
        if response.status_code != 200:
            raise RuntimeError(f"{page}: {response.status_code}")
    with CaptureQueriesContext(connection) as queries:
        client.get(f"/admin/django_cqrs/{page}")
    return {"median": statistics.median(times[2:]), "slowest": max(times[2:]), "queries": len(queries)}


def lists(client: Any) -> dict[str, Any]:
    """Measure the lists with a hundred times as many rows."""
    from django.db import connection

    from django_cqrs.models import Action, Blocked, Dead

    for kind in (Dead, Action):
        grow(kind, 1_000_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor != "mysql" else f"ANALYZE TABLE {Dead._meta.db_table}")
    pages = {
        "list of 1,000,000 dead": "dead/",
        "its last page": "dead/?p=100",
        "the same, one box": "dead/?box=inbox",
        "the same, an empty box": "dead/?box=outbox",
        "the same, one queue": "dead/?box=inbox&queue=counting",
        "the same, one cause": f"dead/?cause={CAUSES[3].replace(' ', '+')}",
        "the same, no such cause": "dead/?cause=none",
        "the same, a key that is searched": "dead/?q=key-77",
        "the same, an id that is searched": "dead/?q=01a1fd39-0e9d-7830-b54c-36897927efe4",
        "causes of 1,000,000 dead": "dead/causes/",
        "one cause of 1,000,000 dead": f"dead/cause/?box=inbox&queue=counting&cause={CAUSES[3].replace(' ', '+')}",
        "list of 1,000,000 acts": "action/",
        "the same, one act": "action/?act=skip",
        "the same, an act that nobody did": "action/?act=hasten",
        "operations with 1,000,000 dead": "operations/",
        f"list of {Blocked.objects.count():,} blocked keys": "blocked/",
    }
    return {name: measured(client, page, FEW) for name, page in pages.items()}


def grow(kind: Any, number: int) -> None:
    """Copy rows until there are so many."""
    from django.db import connection

    quoted = connection.ops.quote_name
    columns = ", ".join(quoted(field.column) for field in kind._meta.concrete_fields if not field.primary_key)
    table = kind._meta.db_table
    with connection.cursor() as cursor:
        while (there := kind.objects.count()) < number:
            cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} LIMIT {number - there}")


def fill() -> None:
    """Let everything wait that can."""
    from django.db import transaction

    from benchmarks.filling import fill as fill_table
    from django_cqrs.models import Action, Blocked, Dead, Inbox, Outbox, ParkedInbox, Saga

    fill_table(Outbox._meta.db_table, PENDING)
    fill_table(Inbox._meta.db_table, DEAD)
    Inbox.objects.update(queue="counting")
    tally_and_beat()
    with transaction.atomic():
        for kind, rows in (
            (Dead, dead()), (Blocked, blocked()), (ParkedInbox, parked()), (Saga, sagas()), (Action, actions()),
        ):  # fmt: skip
            kind.objects.bulk_create(rows, 500)


def tally_and_beat() -> None:
    """Let ten queues have been busy for an hour, and twenty processes work."""
    from datetime import timedelta

    from django.utils import timezone

    from django_cqrs.tallies import Entry, add, minute_of
    from django_cqrs.workers import Beat, beat

    queues = [("outbox", "streams"), ("inbox", "counting"), *(("inbox", f"consumer-{n}") for n in range(8))]
    entries = [
        Entry(box, queue, what, 1000, 500.0, 3.0)
        for box, queue in queues
        for what in ("published", "received", "handled", "failed", "wakeups")
    ]
    now = minute_of(timezone.now())
    add("default", {now - timedelta(minutes=minute): entries for minute in range(60)})
    relay = Beat(job="relay streams", box="outbox", queue="streams")
    for pid in range(1, 21):
        beat("default", [relay, Beat(job="consumer counting", box="inbox", queue="counting")], pid=pid)


def envelope(n: int, key: str) -> dict[str, Any]:
    """Return the columns of a message."""
    from uuid import UUID

    from django.utils import timezone

    return {
        "queue": "counting", "lane": n % 16, "topic": "Counted", "key": key, "message_id": UUID(int=n), "kind": "event",
        "name": f"Counted{n % 7}", "version": 1, "source": "bench", "time": timezone.now(), "correlation_id": str(n),
        "headers": "{}", "content_type": "application/json", "payload": b'{"text": "%b"}' % (b"x" * 500),
    }  # fmt: skip


def dead() -> Iterator[Any]:
    """Return dead letters of five causes, each of which holds its key."""
    from django_cqrs.models import Dead

    for n in range(DEAD):
        reason = CAUSES[n % 5] + "\na line of a traceback" * 20
        yield Dead(box="inbox", row=n, attempts=10, reason=reason, holds=True, **envelope(n, f"key-{n}"))


def blocked() -> Iterator[Any]:
    """Return the keys that dead letters hold."""
    from django_cqrs.models import Blocked

    for n in range(DEAD):
        place = {"box": "inbox", "queue": "counting", "lane": n % 16, "topic": "Counted", "key": f"key-{n}"}
        yield Blocked(slot=0, head=n, attempts=10, error=CAUSES[n % 5], **place)


def parked() -> Iterator[Any]:
    """Return what waits behind one key, and behind some others."""
    from django_cqrs.models import ParkedInbox

    for n in range(CROWD):
        yield ParkedInbox(id=DEAD + n, **envelope(n, "key-0" if n % 2 else f"key-{n % 300}"))


def sagas() -> Iterator[Any]:
    """Return sagas of all statuses."""
    from uuid import UUID

    from django_cqrs.models import Saga

    progress = {f"step {n}": {"phase": "done", "attempts": 1, "error": ""} for n in range(6)}
    statuses = [status for status, number in STATUSES.items() for _ in range(number)]
    for n in range(SAGAS):
        yield Saga(
            id=UUID(int=n), saga="checkout", status=statuses[n % 1000], state=b"{}", progress=json.dumps(progress),
            position=6, version=1, fingerprint="0" * 64, paused=False, cancelled=False, error="", owner="",
            recoveries=0, correlation_id=str(n), headers="{}",
        )  # fmt: skip


def actions() -> Iterator[Any]:
    """Return what operators did."""
    from django_cqrs.models import Action

    for n in range(1000):
        yield Action(
            who="ada", act=("retry", "skip")[n % 2], reason="the bank is back", number=n, box="inbox",
            queue="counting", topic="Counted", key=f"key-{n}", name="Counted", cause=CAUSES[n % 5], headers="{}",
            payload_sha256="0" * 64,
        )  # fmt: skip


if __name__ == "__main__":
    main(full="--full" in sys.argv[1:])
