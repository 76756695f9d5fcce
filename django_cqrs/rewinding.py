"""Letting a consumer read once more what it has acknowledged: out of its broker, or out of the history."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from django.db.models import Q

from django_cqrs.brokers import INBOXES, broker
from django_cqrs.conf import settings
from django_cqrs.consumers import subscribe, topics_of
from django_cqrs.inbox import door
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Dead, History, Inbox, ParkedInbox, Scheduled, Seen
from django_cqrs.places import SchemaPlace
from django_cqrs.positions import LONGEST, marks
from django_cqrs.relay import aliases
from django_cqrs.rows import envelope_of
from django_cqrs.schemas import has_tables
from django_cqrs.workers import workers
from simplecqrs.errors import NotConfigured
from simplecqrs.queue import DATABASE, DEFERRED, SAGAS

__all__ = [
    "MARK",
    "Since",
    "forget",
    "refuse_while_working",
    "refuse_with_waiting",
    "refuse_without_a_way_back",
    "rewind",
]

#: Where inboxes are that are no tenants'.
HERE = SchemaPlace(INBOXES)
#: Stands for a time: what a consumer has written down itself.
MARK: Final = "mark"
Since: TypeAlias = "datetime | Literal['mark'] | None"
#: How often, and after how many seconds, a feed is asked for that somebody is fetching.
TRIES, PAUSE = 100, 0.1
#: Messages that are read of the history, or ids that are forgotten, at a time.
CHUNK = 500


def rewind(name: str, since: Since, say: Callable[[str], object], places: Sequence[SchemaPlace] = (HERE,)) -> None:
    """
    Let a consumer read once more what came at a time or later; None: all that is there.

    ``MARK``: what came since it wrote down last how far it is, which is in its database.

    What it has seen, and not forgotten, is dropped at its door.

    Args:
        say: is told what was done.
        places: of its inboxes; what comes from a broker is sorted at the door.

    Raises:
        NotConfigured: if that is no longer there.
        BrokerDown: if nobody answers.
    """
    refuse_without_a_way_back(name, since)
    subscribe([name], project_mediator())
    source = settings().consumer(name).broker
    if source != DATABASE:
        _in_broker(name, source, since, say)
    elif since != MARK:
        for place in places:
            with place.entered():
                _from_histories(name, since, say, place)


def _in_broker(name: str, source: str, since: Since, say: Callable[[str], object]) -> None:
    feeds = _feeds(name, source)
    known = marks(name, source) if since == MARK else {}
    for feed in feeds:
        mark = known.get(feed.name[:LONGEST], "") if hasattr(feed, "rewind_to") else ""
        to = None if since == MARK and not mark else since
        _alone(name, partial(feed.rewind_to, mark) if mark else partial(feed.rewind, to), feed.name)
        say(f"{name} reads {feed.name} {_from(to)}{'' if to == since else ': nobody has written down where it was'}")


def _feeds(name: str, source: str) -> Sequence[Any]:
    """Open the feeds of a consumer, which can go back.  Raises NotConfigured, or BrokerDown."""
    feeds: Sequence[Any] = broker(source).feeds(name, topics_of(name, project_mediator()))
    if not all(hasattr(feed, "rewind") for feed in feeds):
        raise NotConfigured(
            f"{source} ({type(broker(source)).__name__}) keeps nothing that was acknowledged, so {name} cannot go "
            "back in it; let those who have published it send it once more: manage.py cqrs_resend"
        )
    return feeds


def refuse_without_a_way_back(name: str, since: Since) -> None:
    """
    Raise NotConfigured if a consumer cannot go back, before anything is recorded or forgotten for it.

    Raises:
        BrokerDown: if nobody answers.
    """
    source = settings().consumer(name).broker
    if source != DATABASE:
        _feeds(name, source)
    elif name == DEFERRED:
        raise NotConfigured("deferred commands are not kept: there is nothing to go back to")
    elif since == MARK:
        raise NotConfigured(f"{name} has its events in its own database, restored with all else: nothing is to be done")


def _alone(name: str, go: Callable[[], None], feed: str) -> None:
    """Let a feed go back while nobody fetches from it."""
    clock = threading.Event()
    for _ in range(TRIES):
        with door(INBOXES).fetching(name, feed) as ours:
            if ours:
                go()
                return
        clock.wait(PAUSE)
    raise NotConfigured(f"somebody fetches from {feed} for {name} all the time; stop it, or try again")


def _from_histories(name: str, since: datetime | None, say: Callable[[str], object], place: SchemaPlace) -> None:
    """Put events into an inbox that the database's own broker has handed on; it keeps none but in the history."""
    topics = topics_of(name, project_mediator())
    for alias in aliases() if place.schema is None else [place.alias]:
        new = known = 0
        for envelopes in _pages(alias, topics, since):
            stored = door(INBOXES).store(name, [envelope_of(row) for row in envelopes], once=True)
            new, known = new + stored.new, known + stored.seen
        if new or known or alias == INBOXES:
            where = alias if place.schema is None else place
            say(f"{name} gets {new:,} events {_from(since)} out of the history of {where}; it had seen {known:,} more")
    if not settings().keep_history:
        say("KEEP_HISTORY is off: nothing that is shipped is kept")


def _pages(alias: str, topics: Sequence[str], since: datetime | None) -> Iterator[list[History]]:
    """Go through the history in its order."""
    kept = History.objects.using(alias).filter(queue=DATABASE, topic__in=topics).order_by("shipped_at", "queue", "row")
    found = kept if since is None else kept.filter(shipped_at__gte=since)
    while page := list(found[:CHUNK]):
        yield page
        last = page[-1]
        behind = Q(shipped_at__gt=last.shipped_at) | Q(shipped_at=last.shipped_at, row__gt=last.row)
        found = kept.filter(behind, shipped_at__gte=last.shipped_at)


def forget(name: str) -> int:
    """Forget all ids that a consumer has seen, and return how many; what comes again is handled again then."""
    seen, total = Seen.objects.using(INBOXES).filter(consumer=name), 0
    while page := list(seen.order_by("source", "message_id").values_list("source", "message_id")[:CHUNK]):
        source = page[0][0]
        ids = [message_id for of, message_id in page if of == source]
        total += seen.filter(source=source, message_id__in=ids).delete()[0]
    return total


def refuse_with_waiting(name: str) -> None:
    """
    Raise NotConfigured if something waits for a consumer, which would then come twice.

    Sagas and commands are refused as well: what they have done is not to be done again.
    """
    if name in (SAGAS, DEFERRED):
        raise NotConfigured(
            f"{name} cannot forget what it has done; reset is for consumers whose effects can be redone"
        )
    waiting = {
        "messages in its inbox": Inbox.objects.using(INBOXES).filter(queue=name),
        "parked ones": ParkedInbox.objects.using(INBOXES).filter(queue=name),
        "dead letters": Dead.objects.using(INBOXES).filter(box="inbox", queue=name),
        "scheduled ones": Scheduled.objects.using(INBOXES).filter(box="inbox", queue=name),
    }
    there = [what for what, found in waiting.items() if found.exists()]
    if there:
        raise NotConfigured(
            f"{name} has {' and '.join(there)}: they would come once more, and be handled twice; let it work them off "
            f"(cqrs_consume {name} --drain), and retry or skip what is dead (cqrs_dead)"
        )


def refuse_while_working(name: str, what: str) -> None:
    """Raise NotConfigured if a process fetches or works for a consumer, as far as they say so."""
    jobs = {f"consumer {name}", f"fetcher {name}"}
    told = workers(INBOXES) if has_tables(INBOXES) else []
    there = [found for found in told if found.job in jobs and found.is_alive]
    if there:
        first = min(there, key=lambda found: found.silent)
        who = f"{first.host} {first.pid or '(ticks)'}"
        raise NotConfigured(
            f"{what} is not safe while {name} is at work: {who} said so {first.silent:,.0f} s ago; stop its workers; "
            "who was killed is believed to be gone after a minute"
        )


def _from(since: Since) -> str:
    if since == MARK:
        return "from where it was"
    return "from its beginning" if since is None else f"from {since.isoformat(timespec='seconds')}"
