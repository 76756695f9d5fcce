"""Errands for consumers whose workers others start: to fetch, and to ring when work is overdue."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from attrs import define, field

from django_cqrs.brokers import INBOXES
from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names, subscribe
from django_cqrs.databases import now
from django_cqrs.doorbells import doorbells
from django_cqrs.fetching import fetchers
from django_cqrs.inbox import lanes_of
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Inbox
from django_cqrs.probes import of_queue
from django_cqrs.queue import DjangoStorage
from django_cqrs.relay import choose_aliases
from django_cqrs.rounds import everywhere
from simplecqrs.loop import Job
from simplecqrs.queue import DEFERRED, SAGAS, Work

__all__ = ["Overdue", "errands"]

#: Seconds that a message waits before it is overdue, and those between two looks.
LOOK = 1.0
#: The longest pause between two rings, in seconds, while nobody answers.
CAP = 15.0


@define
class _Turn:
    """When a consumer is looked at again, when it is rung for if nothing has moved, and what waited the last time."""

    at: float = 0.0
    ring_at: float = 0.0
    pause: float = LOOK
    works: Sequence[Work] = ()


@define(kw_only=True)
class Overdue:
    """
    Ring for consumers that have work on an alias which nobody does.

    That is a retry that is due, or a message that has waited for a second: its doorbell was lost, the worker that
    answered it has died, or its time was up.  While nobody answers it rings after 1, 2, 4 seconds and so on.

    Args:
        alias: of the database.
        consumers: whose engine is to be rung for.
        clock: seconds.
    """

    alias: str
    consumers: Sequence[str]
    clock: Callable[[], float] = time.monotonic
    _turns: dict[str, _Turn] = field(factory=dict[str, _Turn], init=False)
    _storage: DjangoStorage = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._storage = DjangoStorage("inbox", self.alias)

    @property
    def name(self) -> str:
        """Name the job in log lines."""
        return f"doorbells {self.alias}"

    def step(self) -> Literal[0]:
        """Look at those whose turn it is; to ring is no work that others would wait for."""
        for consumer in self.consumers:
            turn = self._turns.setdefault(consumer, _Turn())
            if self.clock() >= turn.at:
                self._look(consumer, turn)
        return 0

    def _look(self, consumer: str, turn: _Turn) -> None:
        works = self._storage.look(consumer, range(lanes_of(consumer, self.alias)))
        moves, time_now = works != turn.works, self.clock()
        turn.at, turn.works = time_now + LOOK, works
        if self._is_overdue(works) and (moves or time_now >= turn.ring_at):
            # What moves has a worker; one more is welcome where so much waits.
            turn.pause = LOOK if moves else min(2 * turn.pause, CAP)
            turn.ring_at = time_now + turn.pause
            doorbells.ring(consumer)

    def _is_overdue(self, works: Sequence[Work]) -> bool:
        if any(work.due for work in works):
            return True
        heads = Inbox.objects.using(self.alias).filter(pk__in=[work.head for work in works])
        times = heads.annotate(now=now(self.alias)).values_list("created_at", "now") if works else ()
        return any((read - stored).total_seconds() >= LOOK for stored, read in times)


def errands(databases: Sequence[str] = (), schemas: Sequence[str] = ()) -> list[Job]:
    """
    Return what is to be done for consumers whose engine is not the daemon, for these aliases; for all if none is named.

    Args:
        schemas: only in these; see ``schemas_of``.

    Raises:
        NotConfigured: if there is no such alias.
    """
    mediator = project_mediator()
    rung = [name for name in consumer_names(mediator) if name in settings().rung_consumers]
    subscribe(rung, mediator, schemas)
    jobs: list[Job] = []
    for alias in choose_aliases(databases, schemas) if rung else ():
        here = [name for name in rung if name in {DEFERRED, SAGAS} or alias == INBOXES]
        if alias == INBOXES:
            jobs += fetchers(here, mediator)
        if here:
            make = partial(Overdue, alias=alias, consumers=here)
            jobs.append(everywhere(alias, make, of_queue("inbox", here), schemas, patience=LOOK))
    return jobs
