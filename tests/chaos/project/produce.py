"""
A throttled producer: commits commands at a rate, and keeps a journal of what it wanted and what was answered.

Run as ``python -m tests.chaos.project.produce --name p1 --events 1000 --rate 100 --seed 1``; it goes on until it has
published so many events and a file ``enough`` is in CHAOS_FOLDER.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

STEPS = (1, 1, 2, 3)


def main() -> None:
    """Produce."""
    import django

    django.setup()
    options = _options()
    folder = Path(os.environ["CHAOS_FOLDER"])
    with (folder / f"journal-{options.name}-{os.getpid()}.jsonl").open("ab", buffering=0) as journal:
        _produce(options, folder, journal)


def _options() -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--deferred", action="store_true", help="defer commands, in place of publishing events")
    return parser.parse_args()


def _produce(options: Any, folder: Path, journal: Any) -> None:
    rnd = random.Random(options.seed)
    make = defer if options.deferred else bump
    started, done = time.monotonic(), 0
    while done < options.events or not (folder / "enough").exists():
        deed, key = str(uuid4()), f"k{min(rnd.randrange(options.keys), rnd.randrange(options.keys))}"
        steps = rnd.choice(STEPS)
        _write(journal, "intent", deed=deed, key=key, steps=steps)
        try:
            version = make(key, deed, steps)
        except Exception as error:  # noqa: BLE001 - whether it was committed, its rows will tell
            _write(journal, "unknown", deed=deed, error=f"{type(error).__name__}: {error}")
            recover()
        else:
            _write(journal, "ok", deed=deed, key=key, version=version, steps=steps)
        done += steps
        _pace(started + done / options.rate)
    _write(journal, "end", events=done)


def bump(key: str, deed: str, steps: int) -> int:
    """Send a command that publishes so many events, and return the last version."""
    from django_cqrs import bus
    from tests.chaos.project.messages import Bump

    return bus.send(Bump(key, deed, steps))


def defer(key: str, deed: str, steps: int) -> int:
    """Defer so many commands in one transaction, beside their business rows, and return the last version."""
    from django.db import transaction

    from django_cqrs import bus
    from tests.chaos.project.faults import at
    from tests.chaos.project.handlers import raise_counter
    from tests.chaos.project.messages import Later
    from tests.chaos.project.models import Deed

    with transaction.atomic():
        version = raise_counter(key, steps)
        for step in range(version - steps + 1, version + 1):
            Deed.objects.create(deed=deed, key=key, version=step)
            bus.defer(Later(key, step, deed))
            at("produce")
    return version


def recover() -> None:
    """Drop connections that a database took with it, and wait a little."""
    from django.db import connections

    connections.close_all()
    threading.Event().wait(0.2)


def _pace(due: float) -> None:
    time.sleep(max(0.0, due - time.monotonic()))


def _write(journal: Any, what: str, **facts: Any) -> None:
    journal.write(json.dumps({"what": what, **facts}).encode() + b"\n")


if __name__ == "__main__":
    main()
