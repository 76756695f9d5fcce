"""The door of the inboxes: what has passed once does not pass again."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, cast
from uuid import UUID
from zlib import crc32

from attrs import frozen
from django.db import connections, transaction

from django_cqrs.conf import settings
from django_cqrs.databases import dialect
from django_cqrs.databases.statements import placeholders
from django_cqrs.masking import kept
from django_cqrs.models import Dead, Seen, Subscription
from django_cqrs.purging import horizon
from django_cqrs.queue import inbox as queue_of
from django_cqrs.rows import envelope_of, fields_of, header_fields
from simplecqrs.envelope import Envelope
from simplecqrs.log_fields import about
from simplecqrs.queue import DEFERRED, LANES, SAGAS, Inbox, Stored, lane_of
from simplecqrs.transport import Garbage

__all__ = ["TOO_LATE", "DjangoInbox", "door", "lanes_of", "replaying"]

log = logging.getLogger("django_cqrs")

CHUNK = 500
#: Dead letters in one INSERT; each may be as large as a message is at most.
FEW = 4
#: Why a message that is older than the memory of ids is dead.
TOO_LATE = "too old to deduplicate"


class DjangoInbox:
    """
    The inboxes of all consumers on one alias.

    Args:
        alias: of the database; the consumers' handlers write there too.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._counts: Counter[tuple[str, str]] = Counter()
        self._counting = threading.Lock()

    @contextmanager
    def fetching(self, consumer: str, feed: str, /) -> Generator[bool, None, None]:
        """Take the lock by which one fetcher at a time reads a feed for a consumer."""
        with dialect(self.alias).fetching(f"{Seen._meta.db_table}:fetch:{consumer}:{feed}") as ours:
            yield ours

    def store(self, consumer: str, envelopes: Sequence[Envelope], /, *, once: bool = False) -> Stored:
        """
        Store what was not seen before, in this order.

        Args:
            once: none of them can have come long ago; else what is older than the memory of ids is a dead letter,
                since nobody can tell whether it has been handled before.
        """
        lanes = lanes_of(consumer, self.alias)
        since = None if once or settings().consumer(consumer).replay else horizon()
        new = 0
        with transaction.atomic(using=self.alias, savepoint=False):
            for start in range(0, len(envelopes), CHUNK):
                fresh = self._pass(consumer, envelopes[start : start + CHUNK])
                late = [] if since is None else [e for e in fresh if e.time < since]
                if late:
                    self._bury_late(consumer, late, lanes)
                    fresh = [e for e in fresh if e not in late]
                queue_of(self.alias).append([(consumer, lane_of(e, lanes), e) for e in fresh])
                new += len(fresh) + len(late)
                self._count(consumer, received=len(fresh), outdated=len(late))
        self._count(consumer, seen=len(envelopes) - new)
        return Stored(new, len(envelopes) - new)

    def counted(self) -> dict[tuple[str, str], int]:
        """Return for consumers how often what happened at their doors since this was last asked."""
        with self._counting:
            counted, self._counts = dict(self._counts), Counter()
        return counted

    def _count(self, consumer: str, **numbers: int) -> None:
        with self._counting:
            self._counts.update({(consumer, what): number for what, number in numbers.items() if number})

    def bury(self, consumer: str, garbage: Sequence[Garbage], /) -> None:
        """Keep what could not be read, for people to look at."""
        with transaction.atomic(using=self.alias, savepoint=False):
            Dead.objects.using(self.alias).bulk_create([_unread(consumer, piece) for piece in garbage], FEW)
        self._count(consumer, dead=len(garbage))

    def believe(self, dead: Dead) -> bool:
        """Let a message in that was not believed, if it is now: its key may have become known."""
        signer, envelope = settings().signature_keys, envelope_of(dead)
        if signer is None or signer.problem(envelope):
            return False
        self.store(dead.queue, [envelope])
        dead.delete()
        return True

    def _bury_late(self, consumer: str, late: Sequence[Envelope], lanes: int) -> None:
        """Make dead letters of messages that may have been handled and forgotten; a retry lets them in."""
        Dead.objects.using(self.alias).bulk_create(
            [_letter(consumer, TOO_LATE, e, lane=lane_of(e, lanes)) for e in late], FEW
        )
        log.error(
            "%s: %d messages are %s; first: %s",
            consumer,
            len(late),
            TOO_LATE,
            late[0].id,
            extra=about(late[0], queue=consumer),
        )

    def _pass(self, consumer: str, envelopes: Sequence[Envelope]) -> list[Envelope]:
        """Return the envelopes that pass the door now, each once; look closer at the others."""
        passing: dict[tuple[str, UUID], Envelope] = {}
        doubtful = [e for e in envelopes if passing.setdefault((e.source, e.id), e) is not e]
        entered = self._enter(consumer, list(passing.values()))
        doubtful += [envelope for place, envelope in passing.items() if place not in entered]
        if doubtful:
            self._compare(consumer, doubtful)
        return [envelope for place, envelope in passing.items() if place in entered]

    def _enter(self, consumer: str, envelopes: Sequence[Envelope]) -> set[tuple[str, UUID]]:
        speech = dialect(self.alias)
        entered = speech.insert_new(
            Seen._meta.db_table,
            ("consumer", "source", "message_id"),
            ("consumer", "source", "message_id", "crc"),
            [(consumer, e.source, speech.uuid_parameter(e.id), crc32(e.payload)) for e in envelopes],
        )
        return {(source, speech.uuid(message_id)) for _, source, message_id in entered}

    def _compare(self, consumer: str, doubtful: Sequence[Envelope]) -> None:
        """Make dead letters of those whose source and id were seen with other content."""
        known = self._known(consumer, doubtful)
        forged = [e for e in doubtful if known.get((e.source, e.id)) != crc32(e.payload)]
        self._count(consumer, mismatch=len(forged))
        reason = "the same source and id came before with other content"
        Dead.objects.using(self.alias).bulk_create([_letter(consumer, reason, e) for e in forged], FEW)

    def _known(self, consumer: str, envelopes: Sequence[Envelope]) -> dict[tuple[str, UUID], int]:
        speech = dialect(self.alias)
        ids = [speech.uuid_parameter(e.id) for e in envelopes]
        with connections[self.alias].cursor() as cursor:
            cursor.execute(
                f"SELECT source, message_id, crc FROM {Seen._meta.db_table}"
                f" WHERE consumer = %s AND message_id IN ({placeholders(ids)})",
                [consumer, *ids],
            )
            return {(source, speech.uuid(message_id)): crc for source, message_id, crc in cursor.fetchall()}


def _letter(consumer: str, reason: str, envelope: Envelope, *, lane: int = 0) -> Dead:
    return _dead(consumer, reason, lane=lane, **fields_of(envelope))


def _unread(consumer: str, garbage: Garbage) -> Dead:
    """Make a letter of what is no envelope, or not believed: it has bytes and headers, and may say what it is."""
    if garbage.claim is not None:
        return _letter(consumer, garbage.error, garbage.claim)
    unknown: dict[str, Any] = dict.fromkeys(("topic", "key", "kind", "name", "source", "correlation_id"), "")
    unknown |= {"version": 0, "content_type": ""}
    return _dead(consumer, garbage.error, payload=garbage.payload, **unknown, **header_fields(garbage.headers))


def _dead(consumer: str, reason: str, *, lane: int = 0, **fields: Any) -> Dead:
    return Dead(box="inbox", queue=consumer, lane=lane, attempts=0, reason=kept(reason), holds=False, **fields)


def replaying(inbox: DjangoInbox) -> Inbox:
    """Return a door that lets in what is older than the memory of ids as well."""
    return cast(Inbox, _Replaying(inbox))


@frozen
class _Replaying:
    inbox: DjangoInbox

    def store(self, consumer: str, envelopes: Sequence[Envelope], /) -> Stored:
        return self.inbox.store(consumer, envelopes, once=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inbox, name)


@cache
def door(alias: str) -> DjangoInbox:
    """Return the door of the inboxes of an alias."""
    return DjangoInbox(alias)


def lanes_of(consumer: str, alias: str) -> int:
    """Return how many lanes a consumer's inbox has, as remembered in the database."""
    if consumer in {DEFERRED, SAGAS}:
        return LANES
    found = Subscription.objects.using(alias).filter(consumer=consumer).values_list("lanes", flat=True).first()
    return found if found is not None else LANES
