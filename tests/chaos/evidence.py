"""What is found after a run, gathered for the checker."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.chaos.checker import Entry, Evidence, Fact

__all__ = ["WAITING", "gather", "read_log"]

#: Where something may wait.
WAITING = ("cqrs_outbox", "cqrs_outbox_parked", "cqrs_inbox", "cqrs_inbox_parked")

#: Reads rows.
Query = Callable[[str], list[tuple[Any, ...]]]


def gather(query: Query, *, journal: Sequence[Mapping[str, Any]] = (), log: Sequence[Entry] | None = None) -> Evidence:
    """Read what was committed, handled and counted."""
    deeds = query("SELECT name, version, deed FROM chaos_deed ORDER BY id")
    handled = query("SELECT event_id, name, version, deed FROM chaos_handled ORDER BY id")
    return Evidence(
        journal=journal,
        committed=[Fact(*row) for row in deeds],
        log=log,
        handled=[Entry(str(event_id).replace("-", ""), Fact(*fact)) for event_id, *fact in handled],
        effects=dict(query("SELECT name, n FROM chaos_effect")),
    )


def read_log(client: Any, stream: str) -> list[Entry]:
    """Return what stands in a Redis stream, in its order."""
    found = [(fields[b"id"].decode(), json.loads(fields[b"payload"])) for _, fields in client.xrange(stream)]
    return [Entry(i.replace("-", ""), Fact(p["key"], p["version"], p["deed"])) for i, p in found]
