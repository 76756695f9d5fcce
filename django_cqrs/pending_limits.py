"""The setting MAX_PENDING: how much may wait for a broker until somebody is warned, and until publishing is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from attrs.validators import ge, instance_of, optional

__all__ = ["PendingLimit", "pending_limits"]


def _limit() -> Any:
    return field(default=None, validator=optional([instance_of(int), ge(1)]))


@frozen(kw_only=True)
class PendingLimit:
    """
    How much is too much in the outbox of one alias, for one broker.

    Args:
        warn: events; more are an alarm, and a warning in the log now and then.
        refuse: events; as long as there are more, nothing is published.
    """

    warn: int | None = _limit()
    refuse: int | None = _limit()

    def __attrs_post_init__(self) -> None:
        if self.warn is None and self.refuse is None:
            raise ValueError("it needs warn=, refuse= or both")
        if self.warn is not None and self.refuse is not None and self.refuse < self.warn:
            raise ValueError(f"refuse={self.refuse} is less than warn={self.warn}")

    @property
    def lowest(self) -> int:
        """Return below which number nothing happens."""
        return min(limit for limit in (self.warn, self.refuse) if limit is not None)

    @property
    def highest(self) -> int:
        """Return above which number it does not matter how much more it is."""
        return max(limit for limit in (self.warn, self.refuse) if limit is not None)


def pending_limits(raw: Any) -> Mapping[str, PendingLimit]:
    """Read the setting: patterns of brokers' names to dicts with ``warn`` and ``refuse``."""
    if not isinstance(raw, Mapping):
        raise TypeError("it is a dict of brokers' names")
    return {str(name): _read(name, limit) for name, limit in raw.items()}


def _read(name: Any, limit: Any) -> PendingLimit:
    if isinstance(limit, PendingLimit):
        return limit
    if not isinstance(limit, Mapping) or not set(limit) <= {"warn", "refuse"}:
        raise TypeError(f"{name!r} needs a dict with warn and refuse, not {limit!r}")
    try:
        return PendingLimit(**limit)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name!r}: {error.args[0]}") from None
