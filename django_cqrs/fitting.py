"""Whether what is remembered, kept and retried for so long fits together: what is too old is a dead letter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from django_cqrs.conf import settings
from django_cqrs.entries import Settings
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Dead, Idempotency, Scheduled
from simplecqrs.backoff import Retry
from simplecqrs.letters import Backlog
from simplecqrs.queue import DATABASE

__all__ = ["contradictions", "misfits"]

DAY = 24 * 3600.0
#: Scheduled events that are looked at, those that are due last.
LAST = 100


def contradictions(found: Settings) -> Iterator[tuple[str, str]]:
    """Go through settings that do not fit together, each with its cure."""
    if found.brokers and found.seen_days:
        yield from _remembered_too_short(found)
    for name, consumer in found.consumers.items() if found.idempotency_days else ():
        if _longest(consumer.retry) > found.idempotency_days:
            said = (
                f"CONSUMERS[{name!r}] tries a message for {_longest(consumer.retry):,.0f} days; an idempotency key "
                f"that its handler sends a command under is kept for IDEMPOTENCY_DAYS={found.idempotency_days:g}"
            )
            yield said, "Let IDEMPOTENCY_DAYS be longer, or give up earlier."


def _remembered_too_short(found: Settings) -> Iterator[tuple[str, str]]:
    """Tell of what comes to consumers when its id is forgotten."""
    longest = {
        "an event may be dead for DEAD_DAYS, and then in a stream for STREAM_DAYS:": found.stream_days
        + found.dead_days,
        "cqrs_resend sends what KEEP_HISTORY has:": found.keep_history.total_seconds() / DAY,
        "RELAY_RETRY tries an event for": _longest(found.relay_retry),
    }
    for what, days in longest.items():
        if days > found.seen_days:
            said = (
                f"{what} {days:,.4g} days, longer than consumers remember ids, SEEN_DAYS={found.seen_days:g}; what "
                "comes later is a dead letter, 'too old to deduplicate'"
            )
            yield said, f"Let SEEN_DAYS be {days:,.4g} or more, or the other one less."


def _longest(retry: Retry) -> float:
    """Return for how many days something is tried."""
    pauses = (min(retry.cap, retry.first * 2.0 ** min(n, 63)) for n in range(min(retry.attempts - 1, 10_000)))
    return sum(pauses) * (1 + retry.jitter) / DAY


def misfits(inspection: DjangoInspection, backlogs: Iterable[Backlog]) -> Iterator[str]:
    """Go through what waits on one alias and will be too old when it comes."""
    found = settings()
    if found.seen_days:
        yield from _too_old(inspection, backlogs, found.seen_days)
    if found.idempotency_days:
        yield from _without_keys(inspection, found.idempotency_days)


def _too_old(inspection: DjangoInspection, backlogs: Iterable[Backlog], days: float) -> Iterator[str]:
    """Tell of what waits for a broker for longer than its consumers remember ids."""
    cure = f"is older than SEEN_DAYS={days:g}: it will be a dead letter of consumers that do not remember it"
    for backlog in backlogs:
        if backlog.box != "outbox" or backlog.queue == DATABASE:
            continue
        if backlog.oldest is not None and backlog.oldest > days * DAY:
            yield f"outbox {backlog.queue}: what waits there {cure}"
        dead = Dead.objects.using(inspection.alias).filter(box="outbox", queue=backlog.queue).order_by("pk")
        since = dead.values_list("since", flat=True).first() if backlog.dead else None
        if since is not None and since < inspection.now() - timedelta(days=days):
            yield f"outbox {backlog.queue}: the oldest dead letter {cure}, if it is retried"
    last = Scheduled.objects.using(inspection.alias).order_by("-due", "-id").values_list("box", "queue", "due", "time")
    late = {q for box, q, due, at in last[:LAST] if box == "outbox" and q != DATABASE and due - at > timedelta(days)}
    for queue in sorted(late):
        yield f"outbox {queue}: what is scheduled, when it is due, {cure}"


def _without_keys(inspection: DjangoInspection, days: float) -> Iterator[str]:
    """Tell of dead letters whose retry would do again what was done under a key."""
    since = inspection.now() - timedelta(days=days)
    dead = Dead.objects.using(inspection.alias).filter(since__lt=since, box="inbox").order_by("since")
    if dead.exists() and Idempotency.objects.using(inspection.alias).order_by("created_at").exists():
        yield (
            f"dead letters are older than IDEMPOTENCY_DAYS={days:g}: a handler that sent a command under a key before "
            "it failed would have it done again by a retry"
        )
