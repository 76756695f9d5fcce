"""A process that handles messages and tells when it did: a crew of our own, or a LISTEN loop by hand."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from io import StringIO

__all__ = ["NOTED"]

#: When each message was handled.
NOTED: dict[str, float] = {}


def main() -> None:
    """Handle messages, and when a number is given tell of so many, as soon as they were handled."""
    import django

    django.setup()
    name = sys.argv[1]
    threading.Thread(target=_by_hand if name == "by hand" else _crew, args=(name,), daemon=True).start()
    for line in sys.stdin:
        while len(NOTED) < int(line):
            time.sleep(0.01)
        print(json.dumps(NOTED), flush=True)
        NOTED.clear()
    os._exit(0)


def _crew(name: str) -> None:
    from django.core.management.base import OutputWrapper

    from django_cqrs.bells import Bells, ringing_here
    from django_cqrs.consumers import consumers
    from django_cqrs.crew import Crew
    from django_cqrs.listening import listening
    from django_cqrs.meter import Meter
    from django_cqrs.relay import relays
    from simplecqrs.bell import Stop

    jobs = consumers("deferred") if name == "deferred" else [*relays(routes=["database"]), *consumers("noting")]
    stop = Stop()
    bells = Bells(stop)
    with listening(["default"], bells), ringing_here(bells):
        while not bells.hearing:
            time.sleep(0.01)
        print("listening", flush=True)
        Crew(jobs, stop, bells, Meter(OutputWrapper(StringIO()))).run()


def _by_hand(name: str) -> None:
    from benchmarks.by_hand import take_by_hand
    from benchmarks.servers import connect

    database = os.environ["CQRS_BENCH_DATABASE"]
    with connect(database=database, autocommit=True) as listener, connect(database=database) as connection:
        listener.execute("LISTEN by_hand")
        print("listening", flush=True)
        while True:
            for _ in listener.notifies(timeout=1.0, stop_after=1):
                pass
            while take_by_hand(connection, _note):
                pass


def _note(number: int) -> None:
    NOTED[str(number)] = time.monotonic()


if __name__ == "__main__":
    sys.modules["benchmarks.latency_worker"] = sys.modules["__main__"]  # where the handlers note
    main()
