"""What would break if this release took over now: names, versions and payloads of what waits, read with its code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from attrs import evolve, field, frozen

from django_cqrs.brokers import INBOXES, broker_names
from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names
from django_cqrs.findings import Finding
from django_cqrs.inbox import lanes_of
from django_cqrs.mediator import DjangoMediator
from django_cqrs.models import Inbox, Subscription
from django_cqrs.pending import Look, Pending, pending_in
from django_cqrs.places import SchemaPlace, places_of
from django_cqrs.probes import of_anything
from django_cqrs.relay import aliases
from django_cqrs.releases import Handles, all_known, handles_of
from django_cqrs.saga_messages import PREFIX
from django_cqrs.saga_preflight import saga_findings
from simplecqrs.envelope import Envelope
from simplecqrs.errors import CQRSError, InvalidPayload, NewerVersion
from simplecqrs.messages import traits
from simplecqrs.queue import DEFERRED, SAGAS

__all__ = ["Preflight", "preflight"]


@frozen
class Preflight:
    """What was looked at, what would break, and what else is worth to be known."""

    looked_at: list[Look] = field(factory=list[Look])
    problems: list[Finding] = field(factory=list[Finding])
    notes: list[Finding] = field(factory=list[Finding])


def preflight(mediator: DjangoMediator, *, most: int, samples: int, dead: bool = False) -> Preflight:
    """
    Look at all that waits, and say what this release could not handle.

    Nothing is changed, no handler is called and no broker is asked.

    Args:
        most: rows that are looked at in each table, the oldest first.
        samples: messages of each name and version that are truly decoded.
        dead: dead letters, too.
    """
    report, homes = Preflight(), places_of([INBOXES])
    release = _Release(mediator, homes)
    for place in places_of(aliases(), of_anything()):
        with place.entered():
            pending, looks = pending_in(place.alias, most=most, samples=samples, dead=dead)
            problems, look = saga_findings(mediator, place.alias, most=most, samples=samples)
            here = [problem for found in pending for problem in release.problems(found)] + list(problems)
        report.problems.extend(evolve(problem, database=str(place)) for problem in here)
        report.looked_at.extend(evolve(one, database=str(place)) for one in (*looks, look))
    for place in homes:
        with place.entered():
            problems, notes = release.problems_of_inboxes()
        report.problems.extend(evolve(problem, database=str(place)) for problem in problems)
        report.notes.extend(evolve(note, database=str(place)) for note in notes)
    return report


class _Release:
    """
    This release, and what it knows of those before it.

    Args:
        homes: where it is written down what they handle, and subscribe to.
    """

    def __init__(self, mediator: DjangoMediator, homes: Sequence[SchemaPlace]) -> None:
        self.mine = handles_of(mediator)
        self._vocabulary = mediator.vocabulary
        self._consumers = consumer_names(mediator)
        self._subscribed = _places(self.mine)
        others = dict[str, Handles]()
        for home in homes:
            with home.entered():
                others |= {known.fingerprint: known for known in all_known()}
                self._subscribed |= _subscriptions()
        self._others = [known for known in others.values() if known.fingerprint != self.mine.fingerprint]

    def problems_of_inboxes(self) -> tuple[list[Finding], list[Finding]]:
        """Return what is wrong with the inboxes of a place, and what is worth to be known."""
        problems = [found for name in self._consumers for found in _lost_lanes(name)]
        notes = [found for name in self._consumers for found in _lanes(name)]
        return problems, [*notes, *_unsubscribed(self.mine)]

    def problems(self, found: Pending) -> Iterator[Finding]:
        """Go through what is wrong with messages that are alike."""
        if found.box == "inbox":
            yield from self._read_by(found.queue, found)
            return
        if found.queue not in broker_names():
            yield _finding(
                "missing broker", found, f"they wait for the broker {found.queue!r}, which is not in BROKERS",
                "keep the broker until its outbox is empty",
            )  # fmt: skip
        for consumer, broker, topic in sorted(self._subscribed):
            if (broker, topic) == (found.queue, found.topic):
                yield from self._read_by(consumer, found)

    def _read_by(self, consumer: str, found: Pending) -> Iterator[Finding]:
        """Say why a consumer could not handle messages."""
        if consumer == SAGAS and found.name.startswith(PREFIX) and found.topic == found.name:
            return  # of which the sagas themselves tell
        if consumer not in self._consumers:
            yield _finding(
                "missing consumer", found, f"they are for the consumer {consumer!r}, which is not here",
                f"keep its handlers, consumer={consumer!r}, until its inbox is empty",
            )  # fmt: skip
        elif found.name not in self.mine.names.get(consumer, ()):
            if self._was_handled(consumer, found.name):
                yield self._unhandled(consumer, found)
        else:
            yield from self._unreadable(consumer, found)

    def _was_handled(self, consumer: str, name: str) -> bool:
        """Tell whether another release handles it; what nobody has ever handled is acknowledged, and no loss."""
        return consumer == DEFERRED or any(name in known.names.get(consumer, ()) for known in self._others)

    def _unhandled(self, consumer: str, found: Pending) -> Finding:
        try:
            self._vocabulary.find(found.name)
        except LookupError:
            pass
        else:
            return _finding(
                "removed handler", found, f"{consumer} has no handler for {found.name} any more",
                "keep the handler one release longer, until nothing waits for it",
            )  # fmt: skip
        names = self._candidates(consumer, found.name)
        was = f"; was it renamed to {' or '.join(names)}?" if names else ""
        return _finding(
            "renamed or removed class", found, f"no message is called {found.name!r} here, and {consumer} handled it",
            f'keep its name on the wire, class ...(..., name="{found.name}"){was}',
        )  # fmt: skip

    def _candidates(self, consumer: str, name: str) -> Sequence[str]:
        """Return what a message may be called now: first what no other release has known."""
        now = self.mine.names.get(consumer, {})
        new = [known for known in now if not any(known in other.names.get(consumer, ()) for other in self._others)]
        return get_close_matches(name, new or list(now), n=2) or new[:2]

    def _unreadable(self, consumer: str, found: Pending) -> Iterator[Finding]:
        """Decode the samples; the first that fails speaks for the others."""
        for envelope in found.samples:
            try:
                self._vocabulary.decode(envelope)
            except CQRSError as error:
                yield self._undecoded(consumer, found, envelope, error)
                return

    def _undecoded(self, consumer: str, found: Pending, envelope: Envelope, error: CQRSError) -> Finding:
        cls = self._vocabulary.find(found.name)
        known, said = traits(cls).version, str(error).splitlines()[0]
        if isinstance(error, NewerVersion):
            cure = "this release is the older one: they wait for the newer one for DEPLOY_GRACE, and are dead then"
            return _finding("newer version", found, said, cure)
        if found.version < known:
            upcaster = f"@upcasts({cls.__qualname__}, version={found.version})"
            what = f"{consumer} cannot read version {found.version} as version {known}: {said}"
            cure = f"write the upcaster, {upcaster}, or give new fields defaults"
            return _finding("missing upcaster", found, what, cure)
        is_changed = isinstance(error, InvalidPayload)
        cure = "raise the version of the class, and write an upcaster for what waits" if is_changed else "see the error"
        return _finding("unreadable payload", found, f"{consumer} cannot read {envelope.id}: {said}", cure)


def _finding(kind: str, found: Pending, what: str, cure: str) -> Finding:
    return Finding(
        kind=kind, database=found.database, where=f"{found.box} {found.queue}", name=found.name,
        version=found.version, count=found.count, what=what, cure=cure,
    )  # fmt: skip


def _lost_lanes(name: str) -> Iterator[Finding]:
    """Find what lies in lanes that nobody works."""
    lanes = lanes_of(name, INBOXES)
    lost = Inbox.objects.using(INBOXES).filter(queue=name, lane__gte=lanes)
    if lost.order_by("lane", "id").first() is not None:
        yield Finding(
            kind="changed lanes", database=INBOXES, where=f"inbox {name}", count=lost.count(),
            what=f"they lie in lanes above the {lanes} that {name} has", cure="give it more lanes until they are gone",
        )  # fmt: skip


def _lanes(name: str) -> Iterator[Finding]:
    wanted, remembered = settings().consumer(name).lanes, lanes_of(name, INBOXES)
    waiting = Inbox.objects.using(INBOXES).filter(queue=name)
    exists = Subscription.objects.using(INBOXES).filter(consumer=name).exists()
    if exists and wanted != remembered and waiting.order_by("lane", "id").first() is not None:
        yield Finding(
            kind="changed lanes", database=INBOXES, where=f"inbox {name}",
            what=f"{name} keeps its {remembered} lanes, not {wanted}, while its inbox holds anything",
            cure="start its workers anew when it is empty",
        )  # fmt: skip


def _unsubscribed(mine: Handles) -> Iterator[Finding]:
    """Tell of what will not be stored any more once this release has migrated."""
    for consumer, broker, topic in sorted(_subscriptions() - _places(mine)):
        yield Finding(
            kind="dropped subscription", database=INBOXES, where=f"inbox {consumer}",
            what=f"{consumer} does not subscribe to {topic} of {broker} any more: what is published later is not "
            "stored for it", cure="none, if nobody publishes it any more",
        )  # fmt: skip


def _places(mine: Handles) -> set[tuple[str, str, str]]:
    """Return what a release subscribes to: consumer, broker and topic."""
    return {(name, place[0], place[1]) for name, places in mine.topics.items() for place in places}


def _subscriptions() -> set[tuple[str, str, str]]:
    return set(Subscription.objects.using(INBOXES).values_list("consumer", "broker", "topic"))
