"""A process whose clock is wrong, as CHAOS_CLOCK says: so many seconds ahead, or stepping about by an hour."""

from __future__ import annotations

import datetime as module
import os
import random
import time
from datetime import tzinfo

__all__ = ["set_wrong"]

_time, _time_ns = time.time, time.time_ns


def set_wrong() -> None:
    """Put the wrong clock in the place of the system's; what only measures durations stays as it is."""
    said = os.environ.get("CHAOS_CLOCK", "")
    if not said:
        return

    def off() -> float:
        return random.uniform(-3600, 3600) if said == "step" else float(said)

    class Wrong(module.datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Wrong:
            return cls.fromtimestamp(_time() + off(), tz)

    time.time = lambda: _time() + off()
    time.time_ns = lambda: _time_ns() + int(off() * 1e9)
    module.datetime = Wrong  # type: ignore[misc]
