"""One deploy: a database, processes of both releases, and what is found in the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.chaos.children import ROOT, Child, wait_until
from tests.chaos.evidence import WAITING
from tests.chaos.stores import Store

__all__ = ["Actor", "Deploy"]

PATIENCE = 60.0


class Actor:
    """A process that does what it is told, see ``tests.chaos.releases.actor``."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "tests.chaos.releases.actor"],
                cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip
        #: Seconds that the longest of its transactions has taken.
        self.longest = 0.0
        self._expect("ready")

    def _expect(self, wanted: str) -> str:
        assert self._process.stdout is not None
        said, _, rest = self._process.stdout.readline().strip().partition(" ")
        assert said == wanted, f"{said!r}\n{self._log.read_text(errors='replace')[-3000:]}"
        return rest

    def do(self, what: str) -> None:
        """Have something done, and wait for its end."""
        self.begin(what)
        self.end()

    def begin(self, what: str) -> None:
        """Have something done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Wait until it is done."""
        self.longest = float(self._expect("done"))

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()


@define
class Deploy:
    """A database on which both releases work."""

    folder: Path
    store: Store
    actors: list[Actor] = field(factory=list[Actor])
    children: list[Child] = field(factory=list[Child])

    def env(self, release: str) -> dict[str, str]:
        """Return the environment of a process of a release."""
        settings = {"DJANGO_SETTINGS_MODULE": "tests.chaos.releases.settings", "RELEASE": release}
        return {**os.environ, **settings, "RELEASES_DATABASE": self.store.url()}

    def actor(self, release: str) -> Actor:
        """Start a process that does what it is told."""
        self.actors.append(Actor(self.env(release), self.folder / f"actor-{release}-{len(self.actors)}.log"))
        return self.actors[-1]

    def start(self, release: str, *arguments: str) -> Child:
        """Start a command of Django's."""
        child = Child(
            f"{arguments[0]}-{release}", "-m", "django", *arguments, env=self.env(release), folder=self.folder
        )
        self.children.append(child)
        return child

    def manage(self, release: str, *arguments: str) -> tuple[int, str]:
        """Run a command of Django's to its end; return its exit code and what it said."""
        child = self.start(release, *arguments)
        code, _ = child.finish(seconds=PATIENCE)
        return code, child.output()

    def migrate(self, release: str) -> None:
        """Migrate."""
        code, said = self.manage(release, "migrate", "--run-syncdb", "--verbosity", "0")
        assert code == 0, said

    def settle(self) -> None:
        """Wait until nothing waits."""
        try:
            wait_until(lambda: not self.waiting(), seconds=PATIENCE, what="that nothing waits any more", every=0.1)
        except AssertionError as error:
            logs = "".join(child.output()[-2000:] for child in self.children)
            raise AssertionError(f"{error}: {self.waiting()} {self.lacks()}\n{logs}") from None

    def waiting(self) -> dict[str, int]:
        """Return what waits still, by its table."""
        ended = "('COMPLETED', 'COMPENSATED')"
        found = {table: self._count(table) for table in WAITING}
        found["open sagas"] = self._count(f"cqrs_saga WHERE status NOT IN {ended}")
        return {table: number for table, number in found.items() if number}

    def lacks(self) -> Counter[Any]:
        """
        Return what was told and not done, or done more often than told: nothing, if all is well.

        A saga that the old release has begun may be billed by the new one: it goes on under either definition.
        """
        told, done = (Counter(self._facts(table)) for table in ("releases_told", "releases_done"))
        extra = Counter({fact: n for fact, n in (done - told).items() if fact[0] != "billed" or done[fact] > 1})
        return (told - done) + extra

    def out_of_order(self) -> list[tuple[str, list[int]]]:
        """Return keys whose events of one topic were handled in another order than that in which they were told."""
        names = "('placed', 'shipped', 'refunded')"
        rows = self.store.query(f"SELECT key, number FROM releases_done WHERE what IN {names} ORDER BY id")
        keys = {key: [number for other, number in rows if other == key] for key, _ in rows}
        return [(key, numbers) for key, numbers in keys.items() if numbers != sorted(numbers)]

    def dead(self) -> int:
        """Count the dead letters."""
        return self._count("cqrs_dead")

    def releases_of(self, what: Sequence[str]) -> set[str]:
        """Return which releases have done something of these."""
        names = ", ".join(f"'{name}'" for name in what)
        return {name for (name,) in self.store.query(f"SELECT release FROM releases_done WHERE what IN ({names})")}

    def _count(self, table: str) -> int:
        number: int = self.store.query(f"SELECT COUNT(*) FROM {table}")[0][0]
        return number

    def _facts(self, table: str) -> list[tuple[Any, ...]]:
        return self.store.query(f"SELECT what, key, number FROM {table}")

    def close(self) -> None:
        """End what is left, and remove the database."""
        for actor in self.actors:
            actor.close()
        for child in self.children:
            child.clear()
        self.store.drop()
