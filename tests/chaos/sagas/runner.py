"""
One of many workers: runs sagas in the foreground, starts others for consumers, and takes over whose worker has died.

Run as ``python -m tests.chaos.sagas.runner``; it ends when a file ``enough`` is there.
"""

from __future__ import annotations

import os
from pathlib import Path


def main() -> None:
    """Work."""
    import django

    django.setup()
    from django_cqrs import bus
    from django_cqrs.saga_recovery import recover
    from simplecqrs.errors import SagaMovedOn
    from tests.chaos.sagas.stories import Tale

    saga = bus.saga_definitions["busy"]
    enough = Path(os.environ["CHAOS_FOLDER"]) / "enough"
    while not enough.exists():
        saga.start(bus, Tale())
        try:
            saga.run(bus, Tale())
        except SagaMovedOn:
            print("overtaken", flush=True)
        recover(bus, limit=5)


if __name__ == "__main__":
    main()
