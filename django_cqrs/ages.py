"""Times and ages as people write them: ``2026-11-21T03:00``, ``90m``, ``48h``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

__all__ = ["age_of", "moment_of"]

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def age_of(said: Any) -> timedelta:
    """Return an age such as ``48h``; raises ValueError if it is none."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", said) if isinstance(said, str) else None
    if found is None:
        raise ValueError("it is an age such as 90m, 48h or 7d, in quotes")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def moment_of(said: str, what: str) -> datetime:
    """
    Return a time, or the time that was so long ago.

    Args:
        what: says it, for the error.

    Raises:
        ValueError: if it is neither.
    """
    try:
        return timezone.now() - age_of(said)
    except (ValueError, OverflowError):
        pass  # it may be a time
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise ValueError(f"{what} {said!r} is neither a time like 2026-11-21T03:00 nor an age like 2h") from None
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
