"""Working one queue for a moment: what an operator does where no relay or consumer runs."""

from __future__ import annotations

from django_cqrs.consumers import workers
from django_cqrs.loops import run
from django_cqrs.relay import relays

__all__ = ["work"]

#: Seconds after which one looks again what became of it.
MOMENT = 2.0


def work(alias: str, box: str, queue: str) -> None:
    """Ship, or handle, what waits in one queue, for a moment at most; nothing new is fetched from a broker."""
    if box == "outbox":
        run(relays(routes=[queue], databases=[alias]), seconds=MOMENT, drain=True)
        return
    run(workers(queue, databases=[alias]), seconds=MOMENT, drain=True)
