"""One run: a database, perhaps a Redis, the processes that work on them, and what is found afterwards."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from tests.chaos.checker import Entry, Evidence, Verdict, check
from tests.chaos.children import Child, wait_until
from tests.chaos.evidence import WAITING, gather, read_log
from tests.chaos.kinds.port import Site
from tests.chaos.stores import Store

__all__ = ["EVENTS", "KILLS", "PATIENCE", "REPORTS", "World", "new_seed"]

#: Larger in scripts/soak.
EVENTS = int(os.environ.get("CHAOS_EVENTS", "1500"))
KILLS = int(os.environ.get("CHAOS_KILLS", "6"))
PATIENCE = float(os.environ.get("CHAOS_PATIENCE", "120"))
REPORTS: list[dict[str, Any]] = []


def new_seed() -> int:
    """Return CHAOS_SEED, or a number at random."""
    return int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))


@define
class World:
    """
    Everything of one run.

    Args:
        redis: its URL; empty: the database is the broker, unless there is a site.
        site: a broker of any kind.
        settings: further variables of the environment of all processes.
        has_own_server: the database ends with its server.
    """

    folder: Path
    store: Store
    redis: str = ""
    site: Site | None = None
    seed: int = field(factory=new_seed)
    settings: dict[str, str] = field(factory=dict)
    has_own_server: bool = False
    children: list[Child] = field(factory=list)
    began: float = field(factory=time.monotonic)

    @property
    def prefix(self) -> str:
        """Return what the names of our streams begin with."""
        return f"chaos-{self.folder.name}-{self.seed}:"

    def env(self, **more: object) -> dict[str, str]:
        """Return the environment of a process."""
        urls = {"CHAOS_DEFAULT": self.store.url("default"), "CHAOS_AUDIT": self.store.url("audit")}
        redis = {"CHAOS_REDIS": self.redis, "CHAOS_PREFIX": self.prefix}
        if self.site is not None:
            redis["CHAOS_BROKERS"] = json.dumps(self.site.brokers(self.prefix))
        settings = {"DJANGO_SETTINGS_MODULE": "tests.chaos.project.settings", "CHAOS_FOLDER": str(self.folder)}
        added = {f"CHAOS_{name.upper()}": str(value) for name, value in more.items()}
        return {**os.environ, **settings, **urls, **redis, **self.settings, **added}

    # -- processes -------------------------------------------------------------------------------------------------

    def spawn(self, name: str, *arguments: str, **env: object) -> Child:
        """Start a Python process of the project."""
        child = Child(name, *arguments, env=self.env(**env), folder=self.folder)
        self.children.append(child)
        return child

    def manage(self, *arguments: str, **env: object) -> str:
        """Run a command of Django's to its end and return what it said."""
        child = self.spawn(arguments[0], "-m", "django", *arguments, **env)
        code, _ = child.finish(seconds=PATIENCE)
        assert code == 0, child.output()
        return child.output()

    def relay(self, *arguments: str, **env: object) -> Child:
        """Start a relay."""
        return self.spawn("relay", "-m", "django", "cqrs_relay", "--database", "default", *arguments, **env)

    def consumer(self, *arguments: str, **env: object) -> Child:
        """Start a consumer."""
        return self.spawn("consumer", "-m", "django", "cqrs_consume", *(arguments or ("ledger",)), **env)

    def producer(self, name: str, events: int, rate: float, *arguments: str, **env: object) -> Child:
        """Start a producer, which goes on until ``enough`` was said."""
        numbers = ["--events", str(events), "--rate", str(rate), "--seed", str(self.seed + sum(name.encode()))]
        what = ["-m", "tests.chaos.project.produce", "--name", name, *numbers, *arguments]
        return self.spawn("producer", *what, **env)

    def said(self) -> str:
        """Return what all processes have said."""
        return "".join(child.output() for child in self.children)

    def fill(self, *what: str, **env: object) -> None:
        """Fill the outbox, see ``project.fill``."""
        child = self.spawn("fill", "-m", "tests.chaos.project.fill", *what, **env)
        code, _ = child.finish(seconds=PATIENCE)
        assert code == 0, child.output()

    def enough(self, producers: Sequence[Child]) -> None:
        """Let the producers end when they have published what they are to publish."""
        (self.folder / "enough").touch()
        for producer in producers:
            code, _ = producer.finish(seconds=PATIENCE)
            assert code == 0, producer.output()

    def stop(self, children: Sequence[Child]) -> float:
        """Ask processes to end, one after the other; return the longest that one took."""
        ends = [child.terminate() for child in children]
        assert [code for code, _ in ends] == [0] * len(ends), [child.output()[-2000:] for child in children]
        return max((seconds for _, seconds in ends), default=0.0)

    def close(self) -> None:
        """End what is left, and remove database and streams."""
        for child in self.children:
            child.clear()
        if not self.has_own_server:
            self.store.drop()
        if self.redis:
            from redis.exceptions import ConnectionError as Gone

            with _redis(self.redis) as client, suppress(Gone):  # a server of the test's own has ended by now
                client.delete(f"{self.prefix}bumps", f"{self.prefix}second:bumps")

    # -- findings --------------------------------------------------------------------------------------------------

    def count(self, table: str) -> int:
        """Count the rows of a table."""
        number: int = self.store.query(f"SELECT COUNT(*) FROM {table}")[0][0]
        return number

    def settle(self) -> float:
        """Wait until nothing waits and everything was handled; return how long it took."""

        def settled() -> bool:
            return not any(map(self.count, WAITING)) and self.count("chaos_handled") >= self.count("chaos_deed")

        try:
            return wait_until(settled, seconds=PATIENCE, what="that nothing waits any more", every=0.1)
        except AssertionError as error:
            counts = {table: self.count(table) for table in (*WAITING, "cqrs_dead", "chaos_handled", "chaos_deed")}
            raise AssertionError(f"{error}: {counts}") from None

    def rest(self) -> None:
        """Wait until nothing waits and nothing moves: where events are lost on purpose, the end is not known."""
        moved, before = time.monotonic(), -1

        def rests() -> bool:
            nonlocal moved, before
            now = self.count("chaos_handled")
            if now != before or any(map(self.count, WAITING)):
                moved, before = time.monotonic(), now
            return time.monotonic() - moved > 1.5

        wait_until(rests, seconds=PATIENCE, what="that nothing moves any more", every=0.1)

    def evidence(self) -> Evidence:
        """Gather what the checker asks for."""
        log = self.log() if self.redis else self.site and self.site.log(self.prefix)
        return gather(self.store.query, journal=self.journal(), log=log)

    def journal(self) -> list[Mapping[str, Any]]:
        """Return what the producers wrote down; the last line of a killed one may be torn."""
        lines = [line for path in self.folder.glob("journal-*.jsonl") for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines if line.endswith("}")]

    def log(self, stream: str = "") -> list[Entry]:
        """Return the broker's log."""
        with _redis(self.redis) as client:
            return read_log(client, f"{self.prefix}{stream}bumps")

    def logged(self, stream: str = "") -> int:
        """Count the entries of the broker's log."""
        with _redis(self.redis) as client:
            number: int = client.xlen(f"{self.prefix}{stream}bumps")
            return number

    def seen_at_door(self) -> int:
        """Count the duplicates that the inboxes' doors have dropped."""
        return int(self.store.query("SELECT COALESCE(SUM(seen), 0) FROM chaos_door")[0][0])

    def judge(self, proof: str, *, duplicates: int = 0, dead: int = 0, **figures: object) -> Verdict:
        """Check the run, write a line of the report, and fail on what was found."""
        evidence = self.evidence()
        verdict = check(evidence)
        faults = verdict.faults(duplicates=duplicates)
        self.report(proof, evidence, verdict, faults, bound=duplicates, **figures)
        assert faults == {}, f"seed {self.seed}: {str(verdict)[:2000]}"
        assert self.count("cqrs_dead") == dead
        return verdict

    def judge_log(
        self, proof: str, *, without: str = "", duplicates: int = 0, stream: str = "", **figures: object
    ) -> Verdict:
        """Check the broker's log alone: nobody consumes; what one key has is not expected there."""
        log = self.log(stream)
        first = list({entry.id: entry for entry in log}.values())
        found = gather(self.store.query, log=log)
        counted = Counter(entry.fact.key for entry in first)
        expected = [fact for fact in found.committed if fact.key != without]
        evidence = evolve(found, committed=expected, handled=first, effects=counted)
        verdict = check(evidence)
        faults = verdict.faults(duplicates=duplicates)
        self.report(proof, evidence, verdict, faults, bound=duplicates, **figures)
        assert faults == {}, f"seed {self.seed}: {str(verdict)[:2000]}"
        return verdict

    def report(
        self, proof: str, evidence: Evidence, verdict: Verdict, faults: Mapping[str, int], **figures: object
    ) -> None:
        """Write a line of the report."""
        counts = {"events": len(evidence.committed), "duplicates": verdict.duplicates, "at door": self.seen_at_door()}
        self.note(proof, **counts, **figures, faults=faults or "none")

    def note(self, proof: str, **figures: object) -> None:
        """Write a line of the report about what was counted elsewhere."""
        seconds = f"{time.monotonic() - self.began:.1f}"
        row = {"proof": proof, "faults": "none", **figures, "seconds": seconds, "seed": self.seed}
        REPORTS.append(row)
        print(row)
        if path := os.environ.get("CHAOS_REPORT"):
            with Path(path).open("a") as file:
                file.write(json.dumps(row) + "\n")


def _redis(url: str) -> Any:
    import redis

    return redis.Redis.from_url(url)
