"""Messages that come one by one, at random times."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

__all__ = ["send_at_random"]


def send_at_random(send: Callable[[int], None], number: int, *, rate: float) -> dict[int, float]:
    """Send messages, so many per second, and return when each was about to be committed."""
    from django.db import transaction

    committed = {}
    for n in range(number):
        time.sleep(random.expovariate(rate))
        with transaction.atomic():
            send(n)
            committed[n] = time.monotonic()
    return committed
