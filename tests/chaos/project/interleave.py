"""Two connections, step by step: may a second worker take a key's next message while the first one is at work?"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor


def main() -> None:
    """Print whether a second connection could take the next message, or the lane."""
    import django

    django.setup()
    from django_cqrs.queue import inbox

    first, second = two_messages()
    storage = inbox("default")
    with ThreadPoolExecutor(1) as other, storage.take(first, idle=10) as ours:
        assert ours, "the first message is there and its lane is free"
        print(json.dumps({"take": other.submit(takes, second).result(), "hold": other.submit(holds, second).result()}))


def two_messages() -> list[object]:
    """Put two messages of one key into an inbox and return their rows."""
    from django.db import transaction

    from django_cqrs import bus
    from django_cqrs.queue import inbox
    from simplecqrs.metadata import new_metadata
    from simplecqrs.queue import lane_of
    from tests.chaos.project.messages import Bumped

    bus.check()
    envelopes = [bus.vocabulary.envelope(Bumped("k", n, "deed"), new_metadata(None, None)) for n in (1, 2)]
    with transaction.atomic():
        inbox("default").append([("ledger", lane_of(e), e) for e in envelopes])
    with inbox("default").hold("ledger", lanes=[lane_of(envelopes[0])], limit=1, local=True, idle=10) as held:
        assert held is not None
        return list(held.read(10, 10**6))


def takes(row: object) -> bool:
    """Tell whether a message may be taken."""
    from django_cqrs.queue import inbox

    with inbox("default").take(row, idle=10) as ours:  # type: ignore[arg-type]
        return ours


def holds(row: object) -> bool:
    """Tell whether its lane may be held."""
    from django_cqrs.queue import inbox

    lane = row.lane  # type: ignore[attr-defined]
    with inbox("default").hold("ledger", lanes=[lane], limit=1, local=True, idle=10) as held:
        return held is not None


if __name__ == "__main__":
    main()
