"""What somebody has to be woken for: the alarms of ``cqrs_status``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from attrs import frozen

from django_cqrs.bounded import capped
from django_cqrs.brokers import broker_names
from django_cqrs.cdc import slot_alarms
from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names
from django_cqrs.fitting import misfits
from django_cqrs.inspection import DjangoInspection
from django_cqrs.management.letters import count_of
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Blocked, History, Idempotency, Seen
from django_cqrs.pausing import pauses
from django_cqrs.pressure import limit_of, pending
from simplecqrs.letters import CAP, Backlog, BlockedKey, cause_of

__all__ = ["Limits", "alarms_of", "crowds_of"]

#: Keys whose followers are counted, those that have been blocked for longest.
KEYS = 100


@frozen(kw_only=True)
class Limits:
    """
    What is too much.

    Args:
        age: seconds that a message may be pending.
        dead: letters that a queue may have.
        held: seconds that a key may be blocked.
        followers: messages that may wait behind one.
        silent: seconds that a queue may have work and nobody who works there.
        critical: seconds from when messages are stored until they are done, on average of five minutes; None: any.
        full: hours until the disk is full; fewer are too few.
    """

    age: float = 300.0
    dead: int = 0
    held: float = 24 * 3600.0
    followers: int = 100_000
    silent: float = 60.0
    critical: float | None = None
    full: float = 24.0


def crowds_of(inspection: DjangoInspection) -> list[BlockedKey]:
    """Return the keys among which a crowd is looked for: those blocked for longest, and those of what came lately."""
    return [*{found.id: found for found in [*inspection.blocked(limit=KEYS), *inspection.crowded()]}.values()]


def alarms_of(
    inspection: DjangoInspection,
    backlogs: Iterable[Backlog],
    limits: Limits,
    crowds: Iterable[BlockedKey] | None = None,
) -> Iterator[str]:
    """
    Go through what is wrong on one alias.

    Args:
        crowds: of it, if somebody has read them already.
    """
    for backlog in backlogs:
        yield from _queue(backlog, limits)
    yield from _full(inspection)
    yield from _paused(inspection)
    yield from _awaiting(inspection)
    yield from _held(inspection, limits)
    yield from _crowded(inspection, limits, crowds_of(inspection) if crowds is None else crowds)
    yield from _retention(inspection)
    yield from misfits(inspection, backlogs)
    yield from slot_alarms(inspection.alias)


def _queue(backlog: Backlog, limits: Limits) -> Iterator[str]:
    where = f"{backlog.box} {backlog.queue}"
    waiting = backlog.pending + backlog.parked + backlog.scheduled
    if backlog.box == "outbox" and backlog.queue not in broker_names():
        yield f"{count_of(waiting)} events wait for the broker {backlog.queue!r}, which is not in BROKERS any more"
    elif backlog.box == "inbox" and waiting and backlog.queue not in consumer_names(project_mediator()):
        yield f"{count_of(waiting)} messages wait for the consumer {backlog.queue!r}, which has no handler any more"
    if backlog.oldest is not None and backlog.oldest > limits.age:
        yield f"{where}: the oldest message has waited for {backlog.oldest:,.0f} s; does somebody work there?"
    if backlog.next_due is not None and -backlog.next_due > limits.age:
        yield f"{where}: what is scheduled has been due for {-backlog.next_due:,.0f} s; does a relay run there?"
    if backlog.dead > limits.dead:
        yield f"{where}: {count_of(backlog.dead)} dead letters wait for an operator; see cqrs_dead list"


def _full(inspection: DjangoInspection) -> Iterator[str]:
    """Tell of brokers for which more waits than MAX_PENDING says."""
    for name in broker_names():
        limit = limit_of(name)
        if limit is None:
            continue
        waiting = pending(inspection.alias, name, limit)
        if limit.refuse is not None and waiting > limit.refuse:
            yield f"outbox {name}: more than {limit.refuse:,} events wait, and publishing is refused (MAX_PENDING)"
        elif limit.warn is not None and waiting > limit.warn:
            yield f"outbox {name}: more than {limit.warn:,} events wait (MAX_PENDING)"


def _paused(inspection: DjangoInspection) -> Iterator[str]:
    """Tell of consumers that have stopped since what they need is down."""
    for paused in pauses(inspection.alias, "inbox")[:KEYS]:
        seconds = (paused.next_at - inspection.now()).total_seconds() if paused.next_at else 0.0
        yield (
            f"inbox {paused.queue} pauses for {max(seconds, 0):,.0f} s, {paused.attempts} times in a row now: "
            f"{cause_of(paused.error)}; cqrs_dead retry --parked --queue {paused.queue} lets it go on"
        )


def _awaiting(inspection: DjangoInspection) -> Iterator[str]:
    """Tell of what waits for a release that can handle it."""
    blocked = Blocked.objects.using(inspection.alias).filter(waits_since__isnull=False)
    first = blocked.order_by("waits_since").first()
    if first is not None and first.waits_since is not None:
        seconds, grace = (inspection.now() - first.waits_since).total_seconds(), settings().deploy_grace
        yield (
            f"{count_of(capped(blocked))} keys wait for another release, {first.key!r} of {first.topic} ({first.box} "
            f"{first.queue}) for {seconds:,.0f} of {grace:,.0f} s: {cause_of(first.error)}; deploy what handles it; "
            "see cqrs_preflight"
        )


def _held(inspection: DjangoInspection, limits: Limits) -> Iterator[str]:
    """Tell of keys that nobody has unblocked for a day."""
    long_ago = inspection.now() - timedelta(seconds=limits.held)
    held = Blocked.objects.using(inspection.alias).filter(since__lt=long_ago).exclude(key="")
    first = held.order_by("pk").first()
    if first is not None:
        count = count_of(capped(held))
        yield (
            f"{count} keys have been blocked for more than {limits.held / 3600:,.0f} h, {first.key!r} of {first.topic} "
            f"({first.box} {first.queue}) for longest; see cqrs_dead list --parked"
        )


def _crowded(inspection: DjangoInspection, limits: Limits, crowds: Iterable[BlockedKey]) -> Iterator[str]:
    """Tell of keys behind which a crowd waits."""
    for blocked in crowds:
        # Only a crowd is counted beyond the cap: that reads a part of an index, not of the table.
        if blocked.key and blocked.waiting >= min(CAP, limits.followers + 1):
            row = Blocked.objects.using(inspection.alias).filter(pk=blocked.id).first()
            if row is not None and inspection.waiting(row, limits.followers + 1) > limits.followers:
                yield (
                    f"more than {limits.followers:,} messages wait behind {blocked.key!r} of {blocked.topic} "
                    f"({blocked.box} {blocked.queue}): {blocked.cause or 'no reason'}"
                )


def _retention(inspection: DjangoInspection) -> Iterator[str]:
    """Tell that nobody purges."""
    found = settings()
    ids, keys, shipped = (kind.objects.using(inspection.alias) for kind in (Seen, Idempotency, History))
    for what, days, rows, at in (
        ("events that were shipped", found.keep_history / timedelta(days=1), shipped, "shipped_at"),
        ("ids that were seen", found.seen_days, ids, "seen_at"),
        ("idempotency keys that were sent", found.idempotency_days, keys, "created_at"),
    ):
        late = inspection.now() - timedelta(days=days + 1)
        if days and rows.filter(**{f"{at}__lt": late}).order_by(at).exists():
            yield f"{what} more than {days + 1:g} days ago are still kept: schedule cqrs_purge"
