"""
Rounds: one job that is done in many schemas, by visiting those in which there is work.

Hundreds of tenants cost one thread for each job, and while nothing happens one statement for fifty of them now and
then.  A tenant with trouble pauses for itself.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define, field
from django.db import Error, ProgrammingError, connections

from django_cqrs.bells import HEARING, POLLING, place_of
from django_cqrs.conf import settings
from django_cqrs.probes import Probe, busy
from django_cqrs.schemas import TENANTS, in_schema, known_here, schemas_of, with_tables
from simplecqrs.backoff import pause
from simplecqrs.bell import Bell
from simplecqrs.errors import NotConfigured
from simplecqrs.loop import DOWN_FIRST, Job

__all__ = ["Rounds", "everywhere"]

log = logging.getLogger("django_cqrs")

#: Seconds that a step goes on visiting, and those between two looks which schemas there are.
VISITS, REFRESH = 1.0, 10.0
#: The pause between two looks for work, in times of what a look takes: it is nothing that keeps a server busy.
REST = 20
#: The longest pause of a schema with trouble, in seconds.
CAP = 60.0


def everywhere(
    alias: str,
    make: Callable[[], Job],
    probe: Probe,
    schemas: Sequence[str] = (),
    *,
    sample: Callable[[], Job] | None = None,
    patience: float = POLLING,
) -> Any:
    """Return a job for an alias, or the rounds through its schemas if it has any; see ``Rounds``."""
    here = known_here(alias)
    wanted = tuple(schemas) or ((here,) if here is not None else ())
    if not wanted and (alias != TENANTS or settings().schemas is None):
        return make()
    names = partial(schemas_of, alias, wanted)
    made = (sample or make)()
    return Rounds(alias=alias, make=make, probe=probe, names=names, sample=made, patience=patience)


@define(kw_only=True, eq=False)
class Rounds:
    """
    Do a job in all schemas of an alias.

    Args:
        make: makes the job of a schema, inside of it.
        probe: tells in which ones there is work.
        names: returns the schemas; asked now and then, for tenants come and go.
        sample: such a job, that is only asked for its name, its timeout and its counts, which all of them share.
        patience: seconds between two looks, at least.
        clock: seconds.

    Attributes:
        rung: in which schemas there is news, as bells say; None: in any.
    """

    alias: str
    make: Callable[[], Job]
    probe: Probe
    names: Callable[[], Sequence[str]]
    sample: Any
    patience: float = POLLING
    clock: Callable[[], float] = time.monotonic
    rung: deque[str | None] = field(factory=deque, init=False)
    _jobs: dict[str, Any] = field(factory=dict, init=False)
    _known: list[str] = field(factory=list, init=False)
    _refresh_at: float = field(default=float("-inf"), init=False)
    _look_at: float = field(default=float("-inf"), init=False)
    _waiting: deque[str] = field(factory=deque, init=False)
    _troubled: dict[str, tuple[int, float]] = field(factory=dict, init=False)
    _lacking: set[str] = field(factory=set, init=False)
    _is_hearing: Callable[[], bool] | None = field(default=None, init=False)

    def __getattr__(self, name: str) -> Any:
        """Answer as the job of any schema would: name, timeout, counts, asides."""
        if name.startswith("_") or name in ("storage", "attend", "bell", "sample"):
            raise AttributeError(name)
        return getattr(self.sample, name)

    @property
    def place(self) -> tuple[str, str] | None:
        """Name what a commit rings for."""
        return place_of(self.sample)

    def attend(self, bell: Bell, is_hearing: Callable[[], bool], /) -> None:
        """Look when a bell rings, and seldom by oneself while somebody hears of each commit."""
        self._is_hearing = is_hearing

    def step(self) -> int:
        """Visit schemas with work, each once, for a second at most, and return how much was done there."""
        self._look_round()
        done, ends = 0, self.clock() + VISITS
        for _ in range(len(self._waiting)):
            schema = self._waiting.popleft()
            worked = self._visit(schema)
            if worked and schema not in self._waiting:
                self._waiting.append(schema)
            done += worked
            if self.clock() >= ends:
                break
        return done

    def close(self) -> None:
        """Let each job give back what it holds; with a schema that is gone, that is gone as well."""
        closing = {schema: job for schema, job in self._jobs.items() if hasattr(job, "close")}
        for schema in with_tables(self.alias, list(closing)) if closing else ():
            with in_schema(schema, self.alias):
                closing[schema].close()

    # -- where there is work ---------------------------------------------------------------------------------------

    def _look_round(self) -> None:
        now, rung = self.clock(), [self.rung.popleft() for _ in range(len(self.rung))]
        if now >= self._refresh_at:
            self._refresh(now)
        at_once = self._is_hearing is None and not self._waiting  # whoever drains asks until nothing is left
        asked = None in rung or now >= self._look_at or at_once
        found = self._ask() if asked else [schema for schema in rung if schema in self._known]
        for schema in found:
            if schema not in self._waiting:
                self._waiting.append(schema)

    def _refresh(self, now: float) -> None:
        self._refresh_at = now + REFRESH
        wanted = list(self.names())
        self._known = list(with_tables(self.alias, wanted))
        lacking = set(wanted) - set(self._known)
        if lacking - self._lacking:
            log.error("%s: no tables in %s; create the schema, and migrate there", self.name, _few(lacking))
        self._lacking = lacking
        for gone in self._jobs.keys() - set(self._known):
            del self._jobs[gone]
        self._waiting = deque(schema for schema in self._waiting if schema in self._known)

    def _ask(self) -> list[str]:
        """Ask which schemas have work, and decide when to ask again."""
        began = self.clock()
        try:
            found = busy(self.alias, self._known, self.probe)
        except ProgrammingError:  # a schema has gone since
            self._refresh(began)
            found = busy(self.alias, self._known, self.probe)
        took = self.clock() - began
        is_hearing = self._is_hearing is not None and self._is_hearing() and settings().schemas is not None
        self._look_at = began + took + max(HEARING if is_hearing else self.patience, REST * took)
        return found

    # -- work ------------------------------------------------------------------------------------------------------

    def _visit(self, schema: str) -> int:
        failures, until = self._troubled.get(schema, (0, 0.0))
        if self.clock() < until:
            return 0
        try:
            with in_schema(schema, self.alias):
                result = self._job(schema).step()
        except NotConfigured:
            if with_tables(self.alias, [schema]):
                raise
            self._refresh(self.clock())  # a tenant has gone since somebody looked
            return 0
        except Error as error:
            if not connections[self.alias].is_usable():
                raise
            seconds = pause(failures + 1, first=DOWN_FIRST, cap=CAP)
            self._troubled[schema] = failures + 1, self.clock() + seconds
            log.warning("%s in %s: %s; next attempt there in %.1f s", self.name, schema, error, seconds)
            return 0
        self._troubled.pop(schema, None)
        return int(getattr(result, "read", result) or 0)

    def _job(self, schema: str) -> Any:
        if schema not in self._jobs:
            self._jobs[schema] = self.make()
        return self._jobs[schema]


def _few(names: set[str]) -> str:
    some = ", ".join(sorted(names)[:5])
    return some if len(names) <= 5 else f"{some} and {len(names) - 5} more schemas"
