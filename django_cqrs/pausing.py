"""
Queues that pause as a whole.

A pause is a row among the blocked keys, of no topic, no key and no lane.  So it needs no table of its own, and
operators see it, and bring its end forward, as they do with a key.
"""

from __future__ import annotations

from django.db import IntegrityError, connections, transaction
from django.db.models import QuerySet

from django_cqrs.databases import dialect, now
from django_cqrs.databases.port import Place
from django_cqrs.databases.statements import PAUSE
from django_cqrs.masking import kept
from django_cqrs.models import Blocked
from simplecqrs.backoff import Pause
from simplecqrs.queue import Box

__all__ = ["pause_queue", "pauses", "without_past_pauses"]

#: Where the row of a pause is, besides box and queue.
NOWHERE = {"topic": "", "key": "", "slot": 0}


def pause_queue(alias: str, place: Place, pause: Pause, reason: str, *, took: float) -> float | None:
    """Let a queue pause, in the transaction that is open, and return the seconds; see ``Held.pause``."""
    rows = Blocked.objects.using(alias).filter(box=place.box, queue=place.queue, **NOWHERE)
    found = rows.annotate(now=now(alias)).values_list("attempts", "next_at", "now").first()
    times = 1
    if found is not None:
        before, until, moment = found
        if until > moment:
            return None
        times = pause.times(before, (moment - until).total_seconds() - took)
    seconds, said = pause.seconds(times), kept(reason)
    later = dialect(alias).later
    with connections[alias].cursor() as cursor:
        if found is not None:
            again = "" if times > 1 else f", since = {dialect(alias).now}"
            cursor.execute(
                f"UPDATE {place.blocked} SET attempts = %s, error = %s, next_at = {later}{again} WHERE box = %s"
                " AND queue = %s AND topic = '' AND order_key = '' AND slot = 0",
                [times, said, seconds, place.box, place.queue],
            )
            return seconds
        try:
            with transaction.atomic(using=alias):
                cursor.execute(
                    f"INSERT INTO {place.blocked} (head, attempts, error, next_at, lane, box, queue, topic, order_key,"
                    f" slot) VALUES (0, %s, %s, {later}, %s, %s, %s, '', '', 0)",
                    [times, said, seconds, PAUSE, place.box, place.queue],
                )
        except IntegrityError:  # another worker has just said so
            return None
    return seconds


def pauses(alias: str, box: Box) -> QuerySet[Blocked]:
    """Return the rows of the queues of a box that pause now."""
    found: QuerySet[Blocked] = Blocked.objects.using(alias).filter(box=box, lane=PAUSE, next_at__gt=now(alias))
    return found


def without_past_pauses(found: QuerySet[Blocked]) -> QuerySet[Blocked]:
    """Return blocked keys without the pauses that are over, whose rows remember how many there were in a row."""
    going_on: QuerySet[Blocked] = found.exclude(lane=PAUSE, next_at__lte=now(found.db))
    return going_on
