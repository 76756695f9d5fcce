"""Acts on all dead letters of a cause, for as long as a request may take; what is left then is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field

from django_cqrs.actions import Operator
from django_cqrs.bounded import capped, narrowed
from django_cqrs.canary import Canary, Result
from django_cqrs.causes import before_newest
from django_cqrs.management.letters import count_of
from django_cqrs.models import Dead
from simplecqrs.letters import Wanted

__all__ = ["ACTS", "Outcome", "act_on_group"]

#: Seconds that one request may take: a proxy in front of the page waits for thirty at least.
SECONDS = 6.0
#: Letters whose numbers are read at a time.
PAGE = 100


@define
class Outcome:
    """
    What became of a group.

    Attributes:
        done: what went well, said in full; empty if nothing did.
        trouble: what did not, each said in full.
        left: how many are dead still; may stop at ``CAP``.
    """

    done: str = ""
    trouble: list[str] = field(factory=list[str])
    left: int = 0


def act_on_group(act: str, operator: Operator, wanted: Wanted, *, seconds: float = SECONDS) -> Outcome:
    """
    Do one of ``ACTS`` to the letters that are wanted, the oldest first, each in a transaction of its own.

    Only the newest ten thousand letters of all causes are looked at, as by who counts causes; so what is left may be
    more than was seen before.

    Args:
        seconds: after which the rest is left.
    """
    outcome = ACTS[act](operator, wanted, seconds)
    outcome.left = capped(_group(operator.alias, wanted))
    return outcome


def _group(alias: str, wanted: Wanted) -> Any:
    dead = Dead.objects.using(alias)
    return narrowed(dead.filter(pk__gt=before_newest(dead)), wanted).order_by("pk")


def _retry(operator: Operator, wanted: Wanted, seconds: float) -> Outcome:
    """Retry one, then ten, then hundreds, and no further once a failure repeats."""
    canary = Canary(operator, seconds, say=lambda _: None, most=seconds, advice="")
    result = canary.run(wanted, after=before_newest(Dead.objects.using(operator.alias)))
    done = f"{result.done:,} of {result.retried:,} went well" if result.done else ""
    return Outcome(done, list(_troubles(result)))


def _troubles(result: Result) -> Iterator[str]:
    for cause, count in result.failed.most_common():
        yield f"{count:,} failed again: {cause}"
    if result.open:
        yield f"{result.open:,} are still at work"
    if result.refused:
        yield f"{len(result.refused):,} were never readable messages, or are not believed; they can only be skipped"
    if result.stopped:
        yield f"stopped: {result.stopped}"


def _retry_now(operator: Operator, wanted: Wanted, seconds: float) -> Outcome:
    """Retry them and wait for no outcome."""
    done, refused = _each(operator, wanted, operator.retry, seconds)
    trouble = [f"{refused:,} can only be skipped"] if refused else []
    return Outcome(f"{done:,} are tried again now" if done else "", trouble)


def _skip(operator: Operator, wanted: Wanted, seconds: float) -> Outcome:
    """Drop them."""
    done, _ = _each(operator, wanted, operator.skip, seconds)
    return Outcome(f"{done:,} are dropped; what waited behind them goes on" if done else "")


#: What can be done to a group, the careful way first.
ACTS: dict[str, Callable[[Operator, Wanted, float], Outcome]] = {
    "retry": _retry,
    "retry_now": _retry_now,
    "skip": _skip,
}


def _each(operator: Operator, wanted: Wanted, act: Callable[[int], bool], seconds: float) -> tuple[int, int]:
    """Act on letters until time is up, and return how many it was done to, and how many refused it."""
    dead = _group(operator.alias, wanted).values_list("pk", flat=True)
    # What dies again meanwhile has a higher number.
    ends, until, after = time.monotonic() + seconds, dead.last() or 0, 0
    done = refused = 0
    page: list[Any] = []
    while time.monotonic() < ends:
        page = page or list(dead.filter(pk__gt=after, pk__lte=until)[:PAGE])
        if not page:
            break
        after = page.pop(0)
        if act(after):
            done += 1
        else:
            refused += 1
    return done, refused


def said_of(left: int) -> str:
    """Say how many are left."""
    return f"{count_of(left)} are left" if left else "none is left"
