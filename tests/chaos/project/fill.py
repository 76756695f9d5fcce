"""
Fills the outbox, with the business rows of its events.

Run as ``python -m tests.chaos.project.fill k0:5000 poison:1 k:3000/30``.  Each argument is a key and how many events
it has; with a slash, so many keys share them.  All are mixed at random, each key's in its order.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

CHUNK = 1000


def main() -> None:
    """Fill."""
    import django

    django.setup()
    keys = [key for argument in sys.argv[1:] for key in keys_of(argument)]
    if len(sys.argv) > 2:
        random.shuffle(keys)
    versions = Counter(known_versions())
    for start in range(0, len(keys), CHUNK):
        append(keys[start : start + CHUNK], versions)


def keys_of(argument: str) -> list[str]:
    """Return a key for each event."""
    key, _, number = argument.partition(":")
    events, _, spread = number.partition("/")
    return [f"{key}{n % int(spread)}" if spread else key for n in range(int(events))]


def known_versions() -> dict[str, int]:
    """Return how far the keys are."""
    from django.db.models import Max

    from tests.chaos.project.models import Deed

    return dict(Deed.objects.values_list("key").annotate(version=Max("version")))


def append(keys: list[str], versions: Counter[str]) -> None:
    """Write business rows, and append their events."""
    from django.conf import settings
    from django.db import transaction

    from django_cqrs import bus
    from django_cqrs.queue import outbox
    from simplecqrs.metadata import new_metadata
    from simplecqrs.queue import lane_of
    from tests.chaos.project.messages import Bumped
    from tests.chaos.project.models import Deed

    bus.check()
    events = []
    for key in keys:
        versions[key] += 1
        events.append(Bumped(key, versions[key], "filled"))
    envelopes = [bus.vocabulary.envelope(event, new_metadata(None, None)) for event in events]
    with transaction.atomic():
        Deed.objects.bulk_create([Deed(deed=e.deed, key=e.key, version=e.version) for e in events])
        outbox("default").append([(settings.BROKER, lane_of(e), e) for e in envelopes])


if __name__ == "__main__":
    main()
