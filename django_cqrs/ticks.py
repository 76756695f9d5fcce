"""Ticks: what a task of somebody's queue does for relay and consumers, for a while."""

from __future__ import annotations

import time

from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names, consumers, workers
from django_cqrs.doorbells import doorbells
from django_cqrs.loops import run
from django_cqrs.mediator import project_mediator
from django_cqrs.overdue import errands
from django_cqrs.places import places_of
from django_cqrs.probes import of_sagas
from django_cqrs.promotion import promoters
from django_cqrs.pulse import recorded
from django_cqrs.purging import ALL
from django_cqrs.purging import purge as forget
from django_cqrs.relay import aliases, relays
from django_cqrs.saga_recovery import recover
from django_cqrs.schemas import TENANTS
from django_cqrs.storage import note_sizes
from django_cqrs.trimming import complaints, trim
from simplecqrs.loop import Job

__all__ = ["consume", "purge", "recover_sagas", "relay"]


def relay(*routes: str) -> None:
    """
    Do what ``cqrs_relay`` does, for at most RELAY_TICK_SECONDS.

    It promotes what is due, ships what waits in the outbox, and rings for consumers whose work is overdue.
    """
    jobs: list[Job] = [*promoters(), *relays(routes=routes), *errands()]
    with recorded(jobs) as loop:
        run(loop, seconds=settings().relay_tick_seconds, drain=True)


def consume(*names: str) -> None:
    """
    Handle what waits for these consumers until nothing does, for at most RELAY_TICK_SECONDS.

    A consumer for which something is left then is rung for again.  If none are named all are worked, and what waits
    at their brokers is fetched as well; who rings for one has fetched already.
    """
    seconds = settings().relay_tick_seconds
    ends = time.monotonic() + seconds
    jobs = (workers if names else consumers)(*names, stopping=lambda: time.monotonic() > ends)
    chosen = names or consumer_names(project_mediator())
    with doorbells.answering(chosen), recorded(jobs) as loop:
        run(loop, seconds=seconds, drain=True)
    if time.monotonic() > ends:
        for name in chosen:
            doorbells.ring(name)


def recover_sagas(*, saga: str | None = None, limit: int | None = None) -> int:
    """
    Do what ``cqrs_sagas recover --once`` does, and return how many sagas were taken over.

    Args:
        saga: only those of this name.
        limit: at most so many.  Default: as the setting SAGAS says.
    """
    taken = 0
    for place in places_of([TENANTS], of_sagas()):
        with place.entered():
            taken += len(recover(project_mediator(), saga=saga, limit=limit))
    return taken


def purge(seconds: float = 60.0) -> None:
    """
    Do what ``cqrs_purge`` does, for so many seconds for each kind of thing.

    Raises:
        CQRSError: at the end, if there are streams that could not be trimmed.
    """
    for place in places_of(aliases()):
        with place.entered():
            for of in ALL:
                forget(place.alias, of=of, seconds=seconds)
            note_sizes(place.alias)
    complaints(list(trim(seconds=seconds)))
