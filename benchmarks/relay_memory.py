"""A relay process that tells how much memory it takes: idle, and at most while it ships."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

BATCHES = 30


def main() -> None:
    """Be idle; when told to, ship some batches; print both figures."""
    import django

    django.setup()
    from django_cqrs.relay import relays

    (relay,) = relays(routes=["streams"])
    relay.step()
    idle = memory()
    print("idle", flush=True)
    sys.stdin.readline()
    most = idle
    for _ in range(BATCHES):
        relay.step()
        most = max(most, memory())
    print(json.dumps({"idle": idle, "most": most}), flush=True)


def memory() -> float:
    """Return the resident megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000


if __name__ == "__main__":
    main()
