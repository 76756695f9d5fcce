"""A daemon whose only job hangs: ``python -m tests.desk.hanging SECONDS``, which are its limit."""

from __future__ import annotations

import sys
import threading

import django
from attrs import frozen
from django.core.management.base import OutputWrapper

__all__ = ["Hanging", "main"]


@frozen
class Hanging:
    """Says that it has begun, and never ends."""

    name: str = "relay redis"

    def step(self) -> int:
        """Hang."""
        print("hanging", flush=True)
        threading.Event().wait()
        return 0


def main() -> None:
    """Serve."""
    django.setup()
    from django_cqrs import watchdog
    from django_cqrs.daemon import serve

    watchdog.LIMIT = float(sys.argv[1])
    serve(lambda stopping: [Hanging()], OutputWrapper(sys.stdout))


if __name__ == "__main__":
    main()
