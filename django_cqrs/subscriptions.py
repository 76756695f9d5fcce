"""Subscriptions: which consumer wants which topics, as the database broker knows it, in each schema."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from django.db import connections, transaction

from django_cqrs.brokers import INBOXES
from django_cqrs.conf import settings
from django_cqrs.inbox import lanes_of
from django_cqrs.mediator import DjangoMediator
from django_cqrs.models import Inbox, ParkedInbox, Release, Subscription
from django_cqrs.probes import PORTION
from django_cqrs.releases import Handles, newer_than, register
from django_cqrs.schemas import in_schema, quoted, schemas_of, with_tables
from simplecqrs.log_fields import named

__all__ = ["topics_of", "write", "write_here"]

log = logging.getLogger("django_cqrs")

#: Of each consumer what it subscribes to.
Wanted = Mapping[str, Sequence[str]]


def topics_of(name: str, mediator: DjangoMediator) -> list[str]:
    """Return what a consumer subscribes to: as its settings say, else the topics of the events that it handles."""
    configured = settings().consumer(name).topics
    if configured is not None:
        return list(configured)
    handled = [m for r in mediator.registrations() if r.options.consumer == name for m in r.messages]
    topic = mediator.vocabulary.topic  # made anew each time it is asked for, as long as more may be registered
    return list(dict.fromkeys(map(topic, handled)))


def write(wanted: Wanted, mine: Handles, schemas: Sequence[str] = ()) -> None:
    """
    Write down what consumers want, in these schemas; see ``schemas_of``.

    Args:
        mine: what this release has handlers for.
    """
    if not schemas and settings().schemas is None:
        write_here(wanted, mine)
        return
    for schema in _differing(wanted, mine, list(with_tables(INBOXES, schemas_of(INBOXES, schemas)))):
        with in_schema(schema, INBOXES):
            write_here(wanted, mine)


def write_here(wanted: Wanted, mine: Handles) -> None:
    """Write down what consumers want, in the schema where one is."""
    register(mine)
    for name, topics in wanted.items():
        with transaction.atomic(using=INBOXES):
            _subscribe(name, settings().consumer(name).broker, topics, mine)


def _differing(wanted: Wanted, mine: Handles, schemas: Sequence[str]) -> list[str]:
    """Return the schemas in which something else is written down, by one statement for many."""
    rows = {
        (name, settings().consumer(name).broker, topic, settings().consumer(name).lanes)
        for name, topics in wanted.items()
        for topic in topics
    } | {("", "", mine.fingerprint, 0)}
    found: dict[str, set[tuple[str, str, str, int]]] = {schema: set() for schema in schemas}
    waiting = iter(schemas)
    while some := list(islice(waiting, PORTION)):
        for schema, row in _read(some, mine):
            if not row[0] or row[0] in wanted:
                found[schema].add(row)
    return [schema for schema in schemas if found[schema] != rows]


def _read(schemas: Sequence[str], mine: Handles) -> Iterator[tuple[str, tuple[str, str, str, int]]]:
    """Read subscriptions, and whether a release is known, from many schemas."""
    names, subscribed, released = list(schemas), Subscription._meta.db_table, Release._meta.db_table
    each = " UNION ALL ".join(
        f"SELECT {place}, consumer, broker, topic, lanes FROM {name}.{subscribed}"
        f" UNION ALL SELECT {place}, '', '', fingerprint, 0 FROM {name}.{released} WHERE fingerprint = %s"
        for place, name in enumerate(quoted(schema).replace("%", "%%") for schema in schemas)
    )
    with connections[INBOXES].cursor() as cursor:
        cursor.execute(each, [mine.fingerprint] * len(schemas))
        for place, *row in cursor.fetchall():
            yield names[place], tuple(row)


def _subscribe(name: str, broker_name: str, topics: Sequence[str], mine: Handles) -> None:
    rows = Subscription.objects.using(INBOXES).filter(consumer=name)
    lanes = _lanes(name, mine)
    wanted = {(broker_name, topic, lanes) for topic in topics}
    known = set(rows.values_list("broker", "topic", "lanes"))
    if wanted == known:
        return
    theirs = {(place[0], place[1]) for newer in newer_than(mine) for place in newer.topics.get(name, ())}
    ours = {(broker_name, topic) for topic in topics}
    for place in {known_place[:2] for known_place in known} - ours - theirs:
        rows.filter(broker=place[0], topic=place[1]).delete()
    for topic in topics:
        Subscription.objects.using(INBOXES).update_or_create(
            {"lanes": lanes}, consumer=name, broker=broker_name, topic=topic
        )


def _lanes(name: str, mine: Handles) -> int:
    """
    Return how many lanes an inbox is to have: a change waits until it is empty, or rows would lie in no lane.

    A newer release has said how many there are to be.
    """
    wanted = settings().consumer(name).lanes
    exists = Subscription.objects.using(INBOXES).filter(consumer=name).exists()
    remembered = lanes_of(name, INBOXES)
    if not exists or wanted == remembered:
        return wanted
    why = ""
    if any(name in newer.topics for newer in newer_than(mine)):
        why = "since a newer release has said so"
    elif any(kind.objects.using(INBOXES).filter(queue=name).exists() for kind in (Inbox, ParkedInbox)):
        why = "until its inbox is empty"
    if why:
        text = "%s keeps its %d lanes %s; %d are asked for"
        log.warning(text, name, remembered, why, wanted, extra=named(queue=name))
    return remembered if why else wanted
