"""
What each release of the project has handlers for, written down when it is first seen.

While two releases work on one backlog, the older one knows by this what it lacks itself and is not to drop.  Which of
two is older says the order in which they were first seen, since either may be started anew at any time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any
from weakref import WeakKeyDictionary

from attrs import asdict, fields, frozen
from django.db import connections, transaction

from django_cqrs.brokers import INBOXES
from django_cqrs.conf import settings
from django_cqrs.databases import now
from django_cqrs.entries import Settings
from django_cqrs.mediator import DjangoMediator
from django_cqrs.models import Blocked, Release
from django_cqrs.relay import aliases
from simplecqrs.messages import Command, Message, traits
from simplecqrs.queue import DEFERRED

__all__ = ["Handles", "all_known", "end_waits", "handles_of", "newer_than", "register", "settle"]

#: Releases that are remembered: more than are ever at work side by side.
KEPT = 20
#: Keys whose wait is ended in one transaction.
CHUNK = 500


@frozen(slots=False)
class Handles:
    """
    What a release has handlers for.

    Args:
        topics: of each consumer, the brokers and topics that it subscribes to.
        names: of each consumer, the names of what it handles, and up to which version.
        sagas: of each saga, the fingerprint of its definition.
        lanes: of each consumer, how many its inbox is to have.
    """

    topics: Mapping[str, Sequence[Sequence[str]]]
    names: Mapping[str, Mapping[str, int]]
    sagas: Mapping[str, str]
    lanes: Mapping[str, int]

    @cached_property
    def text(self) -> str:
        """Return it as it is stored."""
        return json.dumps(asdict(self), sort_keys=True)

    @cached_property
    def fingerprint(self) -> str:
        """Return by what it is told from that of another release."""
        return sha256(self.text.encode()).hexdigest()


def handles_of(mediator: DjangoMediator) -> Handles:
    """Return what this release has handlers for; it is asked at each tick, so it is remembered."""
    state = settings(), sum(1 for _ in mediator.registry)
    known = _known.get(mediator)
    if known is None or known[0] is not state[0] or known[1] != state[1]:
        known = _known[mediator] = (*state, _handles_of(mediator))
    return known[2]


_known: WeakKeyDictionary[DjangoMediator, tuple[Settings, int, Handles]] = WeakKeyDictionary()


def _handles_of(mediator: DjangoMediator) -> Handles:
    from django_cqrs.consumers import consumer_names, topics_of

    names = consumer_names(mediator)
    subscribed = {name: [] if name == DEFERRED else sorted(topics_of(name, mediator)) for name in names}
    return Handles(
        topics={name: [[settings().consumer(name).broker, topic] for topic in subscribed[name]] for name in names},
        names={name: dict(_handled(name, mediator)) for name in names},
        sagas={name: saga.fingerprint for name, saga in mediator.saga_definitions.items()},
        lanes={name: settings().consumer(name).lanes for name in names},
    )


def _handled(consumer: str, mediator: DjangoMediator) -> Iterator[tuple[str, int]]:
    """Go through what a consumer has handlers for: events, what derives from them, and commands if it takes those."""
    takes_commands = consumer == DEFERRED or settings().consumer(consumer).allow_commands
    vocabulary = mediator.vocabulary
    for registration in mediator.registrations():
        for message in registration.messages:
            if registration.options.consumer == consumer or (takes_commands and issubclass(message, Command)):
                for cls in _with_subclasses(message):
                    yield vocabulary.name(cls), traits(cls).version


def _with_subclasses(cls: type[Message]) -> Iterator[type[Message]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)


def register(mine: Handles) -> None:
    """
    Write down what a release has handlers for, unless that is known.

    To be committed before what it subscribes to, or with it: who sees a message must see for whom it is.
    """
    if Release.objects.using(INBOXES).filter(fingerprint=mine.fingerprint).exists():
        return
    new = Release(fingerprint=mine.fingerprint, handles=mine.text)
    Release.objects.using(INBOXES).bulk_create([new], ignore_conflicts=True)
    for number in list(Release.objects.using(INBOXES).order_by("-id").values_list("id", flat=True)[KEPT:]):
        Release.objects.using(INBOXES).filter(id=number).delete()


def end_waits(consumers: Sequence[str]) -> None:
    """Have what waits for a release looked at now, by these consumers, who may be that release."""
    for alias in aliases():
        _end_waits(alias, consumers)


def _end_waits(alias: str, consumers: Sequence[str]) -> None:
    """Make it due; what somebody holds at this moment is looked at soon in any case."""
    skip = connections[alias].features.has_select_for_update_skip_locked
    waiting = Blocked.objects.using(alias).filter(waits_since__isnull=False, next_at__isnull=False, box="inbox")
    waiting, last = waiting.filter(queue__in=consumers), 0
    while True:
        ids = list(waiting.filter(id__gt=last).order_by("id").values_list("id", flat=True)[:CHUNK])
        if not ids:
            return
        last = ids[-1]
        with transaction.atomic(using=alias):
            free = waiting.filter(id__in=ids).order_by("id").select_for_update(skip_locked=skip)
            waiting.filter(id__in=list(free.values_list("id", flat=True))).update(next_at=now(alias))


def settle(mine: Handles) -> None:
    """Make a release the newest: those that came later were withdrawn, and nothing waits for them any more."""
    with transaction.atomic(using=INBOXES):
        Release.objects.using(INBOXES).filter(fingerprint=mine.fingerprint).delete()
        register(mine)


def newer_than(mine: Handles) -> list[Handles]:
    """Return what releases handle that were first seen after this one, the newest first; none, if it is not known."""
    found = list(Release.objects.using(INBOXES).order_by("-id").values_list("fingerprint", flat=True))
    return [_read(other) for other in found[: found.index(mine.fingerprint)]] if mine.fingerprint in found else []


def all_known() -> list[Handles]:
    """Return what each release handles that is remembered, the newest first."""
    known = Release.objects.using(INBOXES).order_by("-id").values_list("fingerprint", flat=True)
    return [_read(fingerprint) for fingerprint in known]


@lru_cache(maxsize=2 * KEPT)
def _read(fingerprint: str) -> Handles:
    """Return what is stored under a fingerprint, which never changes."""
    text = Release.objects.using(INBOXES).filter(fingerprint=fingerprint).values_list("handles", flat=True).get()
    stored: dict[str, Any] = json.loads(text)
    # A release of another version of this library may have written more, or less.
    return Handles(*(stored.get(part.name, {}) for part in fields(Handles)))
