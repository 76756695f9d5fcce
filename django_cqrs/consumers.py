"""The project's consumers: their subscriptions, and the jobs that empty their inboxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import evolve
from django.apps import apps
from django.db import router

from django_cqrs.awaiting import Awaiting
from django_cqrs.brokers import INBOXES, system_of
from django_cqrs.conf import settings
from django_cqrs.fetching import fetchers
from django_cqrs.inbox import lanes_of
from django_cqrs.mediator import DjangoMediator, project_mediator
from django_cqrs.models import Subscription
from django_cqrs.policies import policy_of
from django_cqrs.probes import of_queue, of_sagas
from django_cqrs.queue import DjangoStorage
from django_cqrs.relay import choose_aliases
from django_cqrs.releases import handles_of, newer_than
from django_cqrs.rounds import everywhere
from django_cqrs.saga_consumer import SagaConsumer
from django_cqrs.saga_recovery import Recovering, recovery_settings
from django_cqrs.subscriptions import topics_of, write, write_here
from django_cqrs.tracing import message_spans
from simplecqrs.consumer import Consumer
from simplecqrs.counts import Counts
from simplecqrs.errors import NotConfigured
from simplecqrs.expiry import handling_unexpired
from simplecqrs.handling import Receive
from simplecqrs.loop import Job
from simplecqrs.messages import IntegrationEvent, Request
from simplecqrs.queue import DEFERRED, LANES, SAGAS
from simplecqrs.registration import Registration

__all__ = ["consumer_names", "consumers", "of_its_app", "subscribe", "subscribe_after_migrate", "topics_of", "workers"]

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


def subscribe(names: Sequence[str], mediator: DjangoMediator, schemas: Sequence[str] = ()) -> None:
    """Write down what consumers want; the database broker goes by it.  What a newer release wants stays."""
    write({name: topics_of(name, mediator) for name in names if name != DEFERRED}, handles_of(mediator), schemas)


def subscribe_after_migrate(*, using: str, **_: Any) -> None:
    """Write down all subscriptions, and forget those of consumers that are no more, and in no newer release either."""
    if using != INBOXES or not router.allow_migrate_model(using, Subscription):
        return
    mediator = project_mediator()
    names, mine = consumer_names(mediator), handles_of(mediator)
    write_here({name: topics_of(name, mediator) for name in names if name != DEFERRED}, mine)
    names += [name for newer in newer_than(mine) for name in newer.topics]
    Subscription.objects.using(INBOXES).exclude(consumer__in=names).delete()


def consumers(
    *names: str,
    databases: Sequence[str] = (),
    stopping: Callable[[], bool] = lambda: False,
    replay: bool = False,
    schemas: Sequence[str] = (),
) -> list[Job]:
    """
    Return what empties the inboxes of these consumers; of all, if none are named: fetchers first, then workers.

    Args:
        databases: only inboxes on these aliases.
        stopping: asked between two messages; if true, a worker ends its run.
        replay: what is older than the memory of ids is let in as well.
        schemas: only in these; see ``schemas_of``.  What comes from brokers goes to all.

    Raises:
        NotConfigured: if there is no such consumer.
    """
    bus = project_mediator()
    chosen = _chosen(names, bus)
    subscribe(chosen, bus, schemas)
    working = [
        job
        for name in chosen
        for alias in (choose_aliases((), schemas) if name in {DEFERRED, SAGAS} else [INBOXES])
        if alias in databases or not databases
        for job in [_everywhere(name, alias, bus, stopping, schemas)]
    ]
    recovering = [_recovering(bus, schemas)] if SAGAS in chosen and not databases else []
    return [*fetchers(chosen, bus, replay=replay), *working, *recovering]


def workers(*names: str, databases: Sequence[str] = (), stopping: Callable[[], bool] = lambda: False) -> list[Job]:
    """Return what empties the inboxes of these consumers, and nothing that fetches from brokers."""
    jobs = consumers(*names, databases=databases, stopping=stopping)
    return [job for job in jobs if isinstance(getattr(job, "sample", job), Consumer)]


def _chosen(names: Sequence[str], bus: DjangoMediator) -> list[str]:
    known = consumer_names(bus)
    for name in names:
        if name not in known:
            raise NotConfigured(f"there is no consumer {name!r}; known are {', '.join(known) or 'none'}")
    return list(names) or known


def _recovering(bus: DjangoMediator, schemas: Sequence[str]) -> Job:
    patience = recovery_settings().interval
    job: Job = everywhere(INBOXES, partial(Recovering, bus), of_sagas(), schemas, patience=patience)
    return job


def _everywhere(
    name: str, alias: str, bus: DjangoMediator, stopping: Callable[[], bool], schemas: Sequence[str]
) -> Job:
    """Return the worker of an inbox, or of those in all schemas, which share what they count."""
    receive = _receiving(name, alias, bus)
    make = partial(_worker, name, alias, bus, stopping=stopping, counts=Counts(), receive=receive)
    sample = partial(make, lanes=LANES)
    job: Job = everywhere(alias, make, of_queue("inbox", [name]), schemas, sample=sample)
    return job


def _receiving(name: str, alias: str, bus: DjangoMediator) -> Receive:
    """Return what a consumer does with a message."""
    found = settings().consumer(name)
    # Deferred commands come from this project's own transactions; from a broker, anybody could give them.
    allowed = name == DEFERRED or found.allow_commands
    receive: Receive = partial(bus.receive, consumer=name, allow_commands=allowed)
    if name == SAGAS:
        receive = SagaConsumer(bus, alias, allow_commands=allowed)
    spans = message_spans()
    if spans is not None:
        receive = spans.processing(receive, consumer=name, system=system_of(found.broker))
    return handling_unexpired(Awaiting(receive, name, handles_of(bus)))


def _worker(
    name: str,
    alias: str,
    bus: DjangoMediator,
    *,
    stopping: Callable[[], bool],
    counts: Counts,
    receive: Receive,
    lanes: int = 0,
) -> Consumer:
    found = settings().consumer(name)
    # A saga is held longer than any of its steps may take.
    leases = [saga.lease for saga in bus.saga_definitions.values()] if name == SAGAS else []
    return Consumer(
        consumer=name,
        storage=DjangoStorage("inbox", alias),
        receive=receive,
        policy=policy_of(name, bus),
        lanes=lanes or lanes_of(name, alias),
        strict=found.strict,
        timeout=max([found.timeout, *leases]),
        batch=found.batch,
        run=max(found.batch, RUN),
        stopping=stopping,
        counts=counts,
    )
