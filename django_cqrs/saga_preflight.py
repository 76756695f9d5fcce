"""Sagas that a release could not go on with: their definition is gone, a step was renamed, the state has changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Q

from django_cqrs.findings import Finding
from django_cqrs.mediator import DjangoMediator
from django_cqrs.models import Saga as Stored
from django_cqrs.pending import Look
from simplecqrs.errors import CQRSError
from simplecqrs.saga.definition import Saga
from simplecqrs.saga.records import SETTLED, Packed, Record
from simplecqrs.saga.states import unpack

__all__ = ["lost_steps", "saga_findings"]

COLUMNS = ("id", "saga", "fingerprint", "progress", "state")


def saga_findings(mediator: DjangoMediator, alias: str, *, most: int, samples: int) -> tuple[list[Finding], Look]:
    """Return what is wrong with the sagas of an alias that have not ended, and what was looked at."""
    known = mediator.saga_definitions
    gone, lost, bad, seen, tried = Counter[str](), Counter[tuple[str, str, str]](), dict[str, str](), 0, Counter[str]()
    for saga_id, name, fingerprint, progress, state in _open(alias)[:most].values_list(*COLUMNS).iterator(2000):
        seen += 1
        saga = known.get(name)
        if saga is None:
            gone[name] += 1
            continue
        if fingerprint != saga.fingerprint:
            lost.update((name, step, what) for step, what in lost_steps(saga, progress))
        if tried[name] < samples:
            tried[name] += 1
            bad |= _unreadable(mediator, saga, Record(saga_id, name, Packed(bytes(state))))
    found = [*_gone(alias, gone), *_lost(alias, lost), *_bad(alias, bad)]
    whole = seen < most or not _open(alias)[most : most + 1].exists()
    return found, Look(alias, f"{Stored._meta.db_table} (open)", seen, whole)


def lost_steps(saga: Saga[Any], progress: str) -> Iterator[tuple[str, str]]:
    """
    Go through the steps that a stored saga is at and that its definition does not lead on from, each with the reason.

    What it has gone through goes on under a new name if the old one is an alias; who waits is known by the old one.
    """
    for step, reached in json.loads(progress).items():
        waits, now = reached["phase"] == "waiting", saga.knows(step)
        if waits and now != step:
            is_called = (
                "is gone" if now is None else f"is called {now!r} now: neither event nor timeout would find them"
            )
            yield step, f"they wait in the step {step!r}, which {is_called}"
        elif now is None:
            yield step, f"they have gone through the step {step!r}, which is gone"


def _open(alias: str) -> Any:
    """Return the sagas that a release may have to go on with, the oldest first."""
    return Stored.objects.using(alias).filter(~Q(status__in=sorted(SETTLED))).order_by("created_at")


def _unreadable(mediator: DjangoMediator, saga: Saga[Any], record: Record) -> Mapping[str, str]:
    try:
        unpack(record, saga.state, mediator.sagas.codec)
    except CQRSError as error:
        return {saga.name: str(error).splitlines()[0]}
    return {}


def _gone(alias: str, gone: Mapping[str, int]) -> Iterator[Finding]:
    for name, count in gone.items():
        yield Finding(
            kind="missing saga", database=alias, where=f"saga {name}", count=count,
            what=f"there is no saga {name!r} here", cure="keep its definition until all of them have ended",
        )  # fmt: skip


def _lost(alias: str, lost: Mapping[tuple[str, str, str], int]) -> Iterator[Finding]:
    for (name, step, what), count in lost.items():
        waits = what.startswith("they wait")
        alias_of = f'keep the step, or say under which name it goes on: Step(..., aliases=["{step}"])'
        yield Finding(
            kind="renamed step", database=alias, where=f"saga {name}", count=count, what=what,
            cure=f"keep the name {step!r} until none waits there" if waits else alias_of,
        )  # fmt: skip


def _bad(alias: str, bad: Mapping[str, str]) -> Iterator[Finding]:
    for name, error in bad.items():
        yield Finding(
            kind="unreadable state", database=alias, where=f"saga {name}", count=1,
            what=f"its state cannot be read: {error}", cure="give fields that are new defaults",
        )  # fmt: skip
