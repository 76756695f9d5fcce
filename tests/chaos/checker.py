"""
Finds out from journals whether events were lost, made up, doubled or put out of order: a pure function.

What a producer meant to do is in its journal; what was committed is told by the business rows, which settles the
commits whose answer nobody heard.  The rest is set algebra, after Jepsen's checker of queues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import field, frozen

__all__ = ["Entry", "Evidence", "Fact", "Verdict", "acknowledged", "check"]


@frozen(order=True)
class Fact:
    """What an event tells: the version that a key came to by a deed.  Two facts are never the same."""

    key: str
    version: int
    deed: str


@frozen
class Entry:
    """A fact where it was seen, in a broker's log or by a handler, under the id of its message."""

    id: str
    fact: Fact


@frozen(kw_only=True)
class Evidence:
    """
    What was found after a run.

    Args:
        journal: what the producers wrote down.
        committed: the business rows.
        log: the broker's, in its order; None if the broker keeps none.
        handled: the handlers' journal, in the order of their calls.
        effects: what the handlers counted for each key.
    """

    journal: Sequence[Mapping[str, Any]] = ()
    committed: Sequence[Fact]
    log: Sequence[Entry] | None = None
    handled: Sequence[Entry]
    effects: Mapping[str, int]


@frozen(kw_only=True)
class Verdict:
    """What the checker found; each is empty in a run in which all went well."""

    #: Committed, says the producer's journal, but the business row is not there: the database's fault.
    forgotten: frozenset[Fact] = frozenset()
    unpublished: frozenset[Fact] = frozenset()
    unhandled: frozenset[Fact] = frozenset()
    ghosts: frozenset[Fact] = frozenset()
    #: One event under several message ids: deduplication could not know.
    renamed: frozenset[Fact] = frozenset()
    #: How often the broker was told again what it knew; allowed after a kill.
    duplicates: int = 0
    doubled: frozenset[Fact] = frozenset()
    inverted_in_log: tuple[Fact, ...] = ()
    inverted_at_handler: tuple[Fact, ...] = ()
    #: Keys whose count is not that of their committed events, with the difference.
    miscounted: Mapping[str, int] = field(factory=dict)

    def faults(self, *, duplicates: int = 0) -> dict[str, int]:
        """Return how often each fault was found; so many duplicates in the broker's log are none."""
        names = ("forgotten", "unpublished", "unhandled", "ghosts", "renamed", "doubled", "inverted_in_log")
        found = {name: len(getattr(self, name)) for name in (*names, "inverted_at_handler", "miscounted")}
        found["duplicates"] = max(0, self.duplicates - duplicates)
        return {name: number for name, number in found.items() if number}


def check(evidence: Evidence) -> Verdict:
    """Compare what was committed with what was published, handled and counted."""
    committed = set(evidence.committed)
    log, handled = evidence.log or (), evidence.handled
    published = {entry.fact for entry in log}
    seen = {entry.fact for entry in handled}
    return Verdict(
        forgotten=frozenset(acknowledged(evidence.journal) - committed),
        unpublished=frozenset(committed - published if evidence.log is not None else ()),
        unhandled=frozenset(committed - seen),
        ghosts=frozenset((published | seen) - committed),
        renamed=_renamed([*log, *handled]),
        duplicates=len(log) - len({entry.id for entry in log}),
        doubled=frozenset(fact for fact, n in Counter(entry.fact for entry in handled).items() if n > 1),
        inverted_in_log=_inversions(log),
        inverted_at_handler=_inversions(handled),
        miscounted=_miscounted(committed, evidence.effects),
    )


def acknowledged(journal: Iterable[Mapping[str, Any]]) -> set[Fact]:
    """Return the facts that the producer was told are committed."""
    return {
        Fact(line["key"], line["version"] - step, line["deed"])
        for line in journal
        if line["what"] == "ok"
        for step in range(line["steps"])
    }


def _renamed(entries: Iterable[Entry]) -> frozenset[Fact]:
    ids: dict[Fact, set[str]] = {}
    for entry in entries:
        ids.setdefault(entry.fact, set()).add(entry.id)
    return frozenset(fact for fact, found in ids.items() if len(found) > 1)


def _inversions(entries: Iterable[Entry]) -> tuple[Fact, ...]:
    """Return the facts that came, for the first time, after a later one of their key."""
    newest: dict[str, int] = {}
    known: set[Fact] = set()
    inverted = []
    for fact in (entry.fact for entry in entries):
        if fact in known:
            continue
        known.add(fact)
        if fact.version < newest.get(fact.key, 0):
            inverted.append(fact)
        newest[fact.key] = max(fact.version, newest.get(fact.key, 0))
    return tuple(inverted)


def _miscounted(committed: Iterable[Fact], effects: Mapping[str, int]) -> dict[str, int]:
    wanted = Counter(fact.key for fact in committed)
    differences = {key: effects.get(key, 0) - wanted[key] for key in wanted.keys() | effects.keys()}
    return {key: difference for key, difference in differences.items() if difference}
