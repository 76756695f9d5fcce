"""The project's consumers: their subscriptions, and the jobs that empty their inboxes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, evolve, field
from django.apps import apps
from django.db import transaction

from django_cqrs.awaiting import Awaiting
from django_cqrs.brokers import INBOXES, broker, system_of
from django_cqrs.conf import settings
from django_cqrs.inbox import door, lanes_of, replaying
from django_cqrs.mediator import DjangoMediator, project_mediator
from django_cqrs.models import Inbox, ParkedInbox, Subscription
from django_cqrs.policies import policy_of
from django_cqrs.positions import Positions
from django_cqrs.queue import DjangoStorage
from django_cqrs.relay import aliases
from django_cqrs.releases import Handles, handles_of, newer_than, register
from django_cqrs.saga_consumer import SagaConsumer
from django_cqrs.saga_recovery import Recovering
from django_cqrs.tracing import message_spans
from simplecqrs.consumer import Consumer, Receive
from simplecqrs.counts import Counts
from simplecqrs.errors import NotConfigured
from simplecqrs.expiry import handling_unexpired
from simplecqrs.fetcher import Fetcher
from simplecqrs.log_fields import named
from simplecqrs.loop import Job
from simplecqrs.messages import IntegrationEvent, Request
from simplecqrs.packing import verifying
from simplecqrs.queue import DATABASE, DEFERRED, SAGAS
from simplecqrs.registration import Registration
from simplecqrs.transport import Feed

__all__ = ["consumer_names", "consumers", "fetchers", "of_its_app", "subscribe", "subscribe_after_migrate", "topics_of"]

log = logging.getLogger("django_cqrs")

#: Messages that a worker handles of a lane before it looks at the others.
RUN = 50


def of_its_app(registration: Registration) -> Registration:
    """Give an integration event's handler that says nothing else to the consumer whose ``apps`` it is in."""
    options = registration.options
    says_more = options.consumer is not None or options.after_commit
    if says_more or not all(issubclass(m, IntegrationEvent) for m in registration.messages):
        return registration
    # What C has written, a list's append, belongs to no module.
    config = apps.get_containing_app_config(getattr(registration.handler, "__module__", None) or "")
    for name, consumer in settings().consumers.items():
        if config is not None and (config.label in consumer.apps or config.name in consumer.apps):
            return evolve(registration, options=evolve(options, consumer=name))
    return registration


def consumer_names(mediator: DjangoMediator) -> list[str]:
    """Return every consumer: those of the settings, those that handlers name, and our own."""
    named = [r.options.consumer for r in mediator.registrations() if r.options.consumer is not None]
    commands = any(issubclass(m, Request) for r in mediator.registrations() for m in r.messages)
    ours = [*([SAGAS] if mediator.saga_definitions else []), *([DEFERRED] if commands else [])]
    return list(dict.fromkeys([*settings().consumers, *named, *ours]))


def topics_of(name: str, mediator: DjangoMediator) -> list[str]:
    """Return what a consumer subscribes to: as its settings say, else the topics of the events that it handles."""
    configured = settings().consumer(name).topics
    if configured is not None:
        return list(configured)
    handled = [m for r in mediator.registrations() if r.options.consumer == name for m in r.messages]
    return list(dict.fromkeys(mediator.vocabulary.topic(m) for m in handled))


def subscribe(names: Sequence[str], mediator: DjangoMediator) -> None:
    """Write down what consumers want; the database broker goes by it.  What a newer release wants stays."""
    mine = handles_of(mediator)
    register(mine)
    for name in names:
        if name == DEFERRED:
            continue
        with transaction.atomic(using=INBOXES):
            _subscribe(name, settings().consumer(name).broker, topics_of(name, mediator), mine)


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
    if any(name in newer.topics for newer in newer_than(mine)):
        return remembered
    if any(kind.objects.using(INBOXES).filter(queue=name).exists() for kind in (Inbox, ParkedInbox)):
        log.warning(
            "%s keeps its %d lanes until its inbox is empty; %d are asked for",
            name,
            remembered,
            wanted,
            extra=named(queue=name),
        )
        return remembered
    return wanted


def subscribe_after_migrate(*, using: str, **_: Any) -> None:
    """Write down all subscriptions, and forget those of consumers that are no more, and in no newer release either."""
    if using != INBOXES:
        return
    mediator = project_mediator()
    names = consumer_names(mediator)
    subscribe(names, mediator)
    names += [name for newer in newer_than(handles_of(mediator)) for name in newer.topics]
    Subscription.objects.using(INBOXES).exclude(consumer__in=names).delete()


def consumers(
    *names: str,
    databases: Sequence[str] = (),
    stopping: Callable[[], bool] = lambda: False,
    replay: bool = False,
) -> list[Job]:
    """
    Return what empties the inboxes of these consumers; of all, if none are named: fetchers first, then workers.

    Args:
        databases: only inboxes on these aliases.
        stopping: asked between two messages; if true, a worker ends its run.
        replay: what is older than the memory of ids is let in as well.

    Raises:
        NotConfigured: if there is no such consumer.
    """
    bus = project_mediator()
    known = consumer_names(bus)
    for name in names:
        if name not in known:
            raise NotConfigured(f"there is no consumer {name!r}; known are {', '.join(known) or 'none'}")
    chosen = list(names) or known
    subscribe(chosen, bus)
    workers = [
        _worker(name, alias, bus, stopping)
        for name in chosen
        for alias in (aliases() if name in {DEFERRED, SAGAS} else [INBOXES])
        if alias in databases or not databases
    ]
    return [
        *fetchers(chosen, bus, replay=replay),
        *workers,
        *([Recovering(bus)] if SAGAS in chosen and not databases else []),
    ]


def fetchers(names: Sequence[str], mediator: DjangoMediator, *, replay: bool = False) -> list[Job]:
    """Return what takes messages off brokers into the inboxes of these consumers."""
    return [_Fetching(name, mediator, replay=replay) for name in names if settings().consumer(name).broker != DATABASE]


@define
class _Fetching:
    """A fetcher that opens its feeds at its first step: a broker that is down then is waited for like later."""

    consumer: str
    mediator: DjangoMediator
    counts: Counts = field(factory=Counts)
    replay: bool = False
    _fetcher: Fetcher | None = None
    _positions: Positions | None = None

    @property
    def name(self) -> str:
        return f"fetcher {self.consumer}"

    @property
    def asides(self) -> dict[str, int]:
        return self._fetcher.asides if self._fetcher is not None else {}

    @property
    def lost(self) -> int:
        return self._fetcher.lost if self._fetcher is not None else 0

    @property
    def missing(self) -> int:
        return self._fetcher.missing if self._fetcher is not None else 0

    def step(self) -> int:
        if self._fetcher is None or self._positions is None:
            self._fetcher, self._positions = self._open()
        fetched = self._fetcher.step()
        self._positions.keep()
        return fetched

    def close(self) -> None:
        """Write down how far it is."""
        if self._positions is not None:
            self._positions.keep(now=True)

    def _open(self) -> tuple[Fetcher, Positions]:
        name = settings().consumer(self.consumer).broker
        feeds = broker(name).feeds(self.consumer, topics_of(self.consumer, self.mediator))
        positions = Positions(consumer=self.consumer, broker=name, feeds=feeds)
        positions.compare()
        feeds = _traced(self.consumer, _believed(self.consumer, feeds))
        inbox = replaying(door(INBOXES)) if self.replay else door(INBOXES)
        return Fetcher(consumer=self.consumer, inbox=inbox, feeds=feeds, counts=self.counts), positions


def _believed(consumer: str, feeds: Sequence[Feed]) -> Sequence[Feed]:
    """Let only what was signed out of the feeds of a consumer that asks for it."""
    signer = settings().signature_keys
    if not settings().consumer(consumer).signed or signer is None:
        return feeds
    return [verifying(feed, signer) for feed in feeds]


def _traced(consumer: str, feeds: Sequence[Feed]) -> Sequence[Feed]:
    """Let the batches of feeds have spans, if that is asked for."""
    spans = message_spans()
    if spans is None:
        return feeds
    system = system_of(settings().consumer(consumer).broker)
    return [spans.receiving(feed, consumer=consumer, system=system) for feed in feeds]


def _worker(name: str, alias: str, mediator: DjangoMediator, stopping: Callable[[], bool]) -> Consumer:
    found = settings().consumer(name)
    # Deferred commands come from this project's own transactions; from a broker, anybody could give them.
    allowed = name == DEFERRED or found.allow_commands
    receive: Receive = partial(mediator.receive, consumer=name, allow_commands=allowed)
    limits = [0.0]
    if name == SAGAS:
        receive = SagaConsumer(mediator, alias, allow_commands=allowed)
        limits += [saga.lease for saga in mediator.saga_definitions.values()]  # longer than any step may take
    spans = message_spans()
    if spans is not None:
        receive = spans.processing(receive, consumer=name, system=system_of(found.broker))
    return Consumer(
        consumer=name,
        storage=DjangoStorage("inbox", alias),
        receive=handling_unexpired(Awaiting(receive, name, handles_of(mediator))),
        policy=policy_of(name, mediator),
        lanes=lanes_of(name, alias),
        strict=found.strict,
        timeout=max(found.timeout, *limits),
        batch=found.batch,
        run=max(found.batch, RUN),
        stopping=stopping,
    )
