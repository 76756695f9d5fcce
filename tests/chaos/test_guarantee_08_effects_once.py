"""Row 8: a consumed event has its effect once, however often it comes."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import MakeWorld
from tests.chaos.world import World

pytestmark = pytest.mark.processes

TIMES = 1000


def test_guarantee_08_the_same_message_a_thousand_times_has_one_effect(
    make_world: MakeWorld, pair: tuple[str, str]
) -> None:
    """Eight workers, and an outbox in which one message stands a thousand times, and others twice."""
    world = make_world(*pair, batch=100)
    world.enough([world.producer("p1", 200, 5000)])
    events = world.count("cqrs_outbox")
    repeat(world, f"WHERE id = (SELECT MIN(id) FROM cqrs_outbox) LIMIT {TIMES - 1}", times=TIMES - 1)
    repeat(world, f"ORDER BY id LIMIT {events}", times=1)

    relay, consumer = world.relay(), world.consumer("ledger", "--workers", "8")
    world.settle()
    world.stop([relay, consumer])

    extra = TIMES - 1 + events
    verdict = world.judge(f"repeated {'+'.join(pair)}", duplicates=extra)
    assert world.seen_at_door() >= extra
    assert verdict.duplicates == (extra if world.redis else 0)


def repeat(world: World, which: str, *, times: int) -> None:
    """Put rows into the outbox once more, with the ids of their messages."""
    columns = (
        "queue, lane, topic, order_key, message_id, kind, name, version, source, time, correlation_id, causation_id,"
        " headers, traceparent, content_type, payload"
    )
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times})"
    now = "created_at"
    world.store.query(
        f"INSERT INTO cqrs_outbox ({columns}, {now}) {numbers}"
        f" SELECT {columns}, {now} FROM (SELECT * FROM cqrs_outbox {which}) o, n"
    )
