"""How full outboxes are, as far as MAX_PENDING asks: who publishes is warned, and refused, before they are too full."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from attrs import define, field
from django.core.signals import setting_changed
from django.db import connections

from django_cqrs.bounded import count_each
from django_cqrs.cdc import cdc_brokers
from django_cqrs.conf import settings
from django_cqrs.entries import most_specific
from django_cqrs.errors import OutboxFull
from django_cqrs.models import Outbox
from django_cqrs.pending_limits import PendingLimit
from django_cqrs.schemas import known_here
from simplecqrs.log_fields import named

__all__ = ["limit_of", "pending", "refuse_if_full"]

log = logging.getLogger("django_cqrs")

#: Seconds between two looks, at least and at most; in between, so many times as long as the look took.
SOONEST, LATEST, TIMES = 1.0, 10.0, 50
#: Seconds between two warnings.
WARNED = 60.0
TABLE = Outbox._meta.db_table
ENDS = f"SELECT MIN(id), MAX(id) FROM {TABLE}"


@define
class Gauge:
    """
    How much waits for one broker on one alias, as this process knows it.

    All threads share it; while one looks, the others go by what is known.
    """

    alias: str
    route: str
    limit: PendingLimit
    _pending: int = field(default=0, init=False)
    _look_at: float = field(default=0.0, init=False)
    _warned: float = field(default=-WARNED, init=False)

    def check(self) -> None:
        """Raise OutboxFull if there is too much, and warn if there is much; costs no statement but for a look."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look(now)
        refuse, warn = self.limit.refuse, self.limit.warn
        if refuse is not None and self._pending > refuse:
            raise OutboxFull(
                f"more than {refuse:,} events wait for {self.route!r} in the outbox of {self.alias!r}, so nothing more "
                "is published to it until its relay has shipped some; see cqrs_status, or raise MAX_PENDING"
            )
        if warn is not None and self._pending > warn and now - self._warned >= WARNED:
            self._warned = now
            log.warning(
                "more than %s events wait for %r in the outbox of %r; see cqrs_status", f"{warn:,}", self.route,
                self.alias, extra=named(queue=self.route),
            )  # fmt: skip

    def _look(self, now: float) -> None:
        self._look_at = now + SOONEST  # for the other threads
        self._pending = pending(self.alias, self.route, self.limit)
        took = time.monotonic() - now
        self._look_at = now + min(max(SOONEST, TIMES * took), LATEST)


#: By alias, schema of a tenant and broker.
_gauges: dict[tuple[str, str | None, str], Gauge | None] = {}


def refuse_if_full(alias: str, routes: Iterable[str]) -> None:
    """
    Raise OutboxFull if one of these brokers has more pending on an alias than MAX_PENDING lets it have.

    It looks once a second at the most, and spends a fiftieth of its time on that.
    """
    for route in routes:
        place = (alias, known_here(alias), route)
        if place not in _gauges:
            limit = limit_of(route)
            _gauges[place] = None if limit is None else Gauge(alias, route, limit)
        gauge = _gauges[place]
        if gauge is not None:
            gauge.check()


def limit_of(route: str) -> PendingLimit | None:
    """Return what MAX_PENDING says of a broker; what is left to change data capture stays in the outbox for days."""
    if route in cdc_brokers():
        return None
    found: PendingLimit | None = most_specific(settings().max_pending, route, default=None)
    return found


def pending(alias: str, route: str, limit: PendingLimit) -> int:
    """
    Return how much waits for a broker, no more exactly than its limits need.

    There cannot be more rows than numbers between the first and the last; only if these are too many it counts, by the
    index, and no further than it has to.
    """
    with connections[alias].cursor() as cursor:
        cursor.execute(ENDS)
        first, last = cursor.fetchone()
        span = 0 if first is None else last - first + 1
        if span <= limit.lowest:
            return int(span)
    return count_each(alias, [(f"{TABLE} WHERE queue = %s", [route])], limit.highest + 1)[0]


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DJANGO_CQRS":
        _gauges.clear()


setting_changed.connect(_forget)
