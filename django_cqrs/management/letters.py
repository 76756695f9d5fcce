"""Dead letters, blocked keys and the log of actions as lines of text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from django.utils import timezone

from django_cqrs.bounded import narrowed
from django_cqrs.inspection import DjangoInspection
from django_cqrs.masking import masked, shown_headers, shown_message
from django_cqrs.models import Action
from simplecqrs.letters import CAP, BlockedKey, Letter, Wanted
from simplecqrs.packing.compression import opened
from simplecqrs.shown import SHOWN

__all__ = ["count_of", "list_blocked", "list_causes", "list_log", "show"]

#: Blocked keys whose followers are counted for a list.
KEYS = 1000


def count_of(number: int) -> str:
    """Write a number whose count may have stopped."""
    return f"{CAP - 1:,}+" if number >= CAP else f"{number:,}"


def list_causes(inspection: DjangoInspection, wanted: Wanted, limit: int) -> Iterator[str]:
    """Write dead letters by cause, the most frequent first."""
    causes, whole = inspection.causes(wanted)
    if not causes:
        yield "no dead letters"
    if not whole:
        yield f"of the newest {CAP - 1:,} dead letters:"
    for cause in causes:
        yield f"{cause.count:,} x {cause.box} {cause.queue}: {cause.cause}"
        for number, since, name, key in cause.letters[:limit]:
            yield f"    {number}  {_time(since)}  {name}  key={key!r}"
        if cause.count > limit:
            yield f"    and {cause.count - limit:,} more"


def list_blocked(inspection: DjangoInspection, wanted: Wanted, limit: int) -> Iterator[str]:
    """Write blocked keys by cause, those with the most followers first."""
    found = inspection.blocked(wanted, limit=KEYS)
    if not found:
        yield "no blocked keys"
    if len(found) == KEYS:
        yield f"of the {KEYS:,} keys that have been blocked for longest, and of those that most was parked for lately:"
    every = {blocked.id: blocked for blocked in [*found, *inspection.crowded(wanted)]}
    groups: dict[tuple[str, str, str], list[BlockedKey]] = defaultdict(list)
    for blocked in sorted(every.values(), key=lambda one: -one.waiting):
        groups[blocked.box, blocked.queue, blocked.cause].append(blocked)
    for (box, queue, cause), keys in groups.items():
        yield f"{len(keys):,} x {box} {queue}: {cause}"
        for blocked in keys[:limit]:
            what = f"{blocked.topic} key={blocked.key!r}  {count_of(blocked.waiting)} wait"
            where = "the whole consumer pauses" if blocked.is_pause else what
            yield f"    {where}  since {_time(blocked.since)}  {_next(inspection, blocked)}"
        if len(keys) > limit:
            yield f"    and {len(keys) - limit:,} more"


def list_log(alias: str, wanted: Wanted, limit: int) -> Iterator[str]:
    """Write what was done last, the newest first."""
    found = Action.objects.using(alias).order_by("-pk")
    for action in narrowed(found, wanted, reason="cause", since="at")[:limit]:
        message = f" message {action.message_id}" if action.message_id else ""
        number = "" if action.number is None else f" {action.number}"
        payload = f" sha256 {action.payload_sha256}" if action.payload_sha256 else ""
        yield (
            f"{_time(action.at)}  {action.who}  {action.act}{number}: {action.box} {action.queue} "
            f"{action.name} key={action.key!r}{message}{payload}: {action.reason or 'no reason given'}"
        )


def show(letter: Letter, *, full: bool, unmasked: bool = False) -> Iterator[str]:
    """
    Write all that is known of a dead letter.

    Args:
        full: the whole payload.
        unmasked: the payload as it is, with what MASK hides.
    """
    for name in ("id", "box", "queue", "name", "topic", "key", "message_id", "attempts", "since"):
        yield f"{name:11} {getattr(letter, name)}"
    yield f"reason      {masked(letter.reason)}"
    yield f"headers     {letter.headers if unmasked else shown_headers(letter.headers)}"
    yield f"format      {letter.content_type}"
    if not unmasked:
        shown = shown_message(letter, most=0 if full else SHOWN)
        yield f"payload     {shown}{'; --full shows them' if shown.endswith(' characters in all') else ''}"
        return
    payload = opened(letter.payload, letter.content_type)
    cut = not full and len(payload) > SHOWN
    yield f"payload     {payload[:SHOWN] if cut else payload!r}"
    if cut:
        yield f"            ... {len(payload):,} bytes in all; --full shows them"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _next(inspection: DjangoInspection, blocked: BlockedKey) -> str:
    if blocked.next_at is not None:
        seconds = (blocked.next_at - timezone.now()).total_seconds()
        due = f"in {seconds:,.0f} s" if seconds > 0 else "due now"
        return f"attempt {blocked.attempts + 1} {due}"
    holder = inspection.holder_of(blocked)
    return f"held by the dead letter {holder}" if holder is not None else "waits for nothing: retry it"
