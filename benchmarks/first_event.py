"""How soon a relay that starts has shipped its first event; run as a process, it is that relay."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.report import Line
from benchmarks.servers import redis_client, stream

__all__ = ["first_events"]


def first_events(times: int) -> list[Line]:
    """Start a relay so many times over what is pending, and tell how soon its first event was in the stream."""
    from django_cqrs.models import Outbox

    pending = Outbox.objects.count()
    found = []
    for _ in range(times):
        redis_client().unlink(stream("Changed"))
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.first_event"], stdout=subprocess.PIPE, text=True, check=True
        )
        began: float = json.loads(done.stdout)
        ((entry, _),) = redis_client().xrange(stream("Changed"), count=1)
        found.append(int(entry.split(b"-")[0]) / 1000 - began)  # Redis says when, in milliseconds
    redis_client().unlink(stream("Changed"))
    return [
        Line(
            f"first event out at {pending:,} pending",
            statistics.median(found),
            0.1,
            unit="s",
            detail=f"from the loop's first statement; {', '.join(f'{1000 * one:.0f}' for one in sorted(found))} ms",
        )
    ]


def main() -> None:
    """Let the loop make one step, and say when its first statement began, in seconds of the system's clock."""
    import django

    django.setup()
    from django.db import connection

    from django_cqrs.loops import make_loop
    from django_cqrs.relay import relays
    from simplecqrs.bell import Stop

    began: list[float] = []

    def note(execute: Callable[..., Any], *arguments: Any) -> Any:
        began.append(time.time())
        return execute(*arguments)

    stop = Stop()
    loop = make_loop(relays(routes=["streams"]), stop)
    loop.after_step = stop.set
    with connection.execute_wrapper(note):
        loop.run()
    print(json.dumps(began[0]), flush=True)


if __name__ == "__main__":
    main()
