"""How long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen, validators

__all__ = ["Pause", "Retry", "pause"]


def pause(
    failures: int, *, first: float, cap: float, jitter: float = 0.2, rnd: Callable[[], float] | None = None
) -> float:
    """
    Return the seconds to wait after so many failures in a row: exponential, capped, with jitter.

    Args:
        failures: how often it failed, counted from 1.
        first: the pause after the first failure, in seconds.  It doubles from there.
        cap: the longest pause, in seconds, before jitter.
        jitter: the share by which a pause is made longer or shorter at random, 0 to 1.
        rnd: gives the chance, from 0 to 1.  Default: ``random.random``.
    """
    if rnd is None:
        from random import random

        rnd = random
    doubled = first * 2.0 ** min(max(failures, 1) - 1, 63)
    return float(min(cap, doubled) * (1 + jitter * (2 * rnd() - 1)))


@frozen
class Retry:
    """
    Say how often a message is handled before it is given up, and how long to wait in between.

    It is looked up when something fails, so that a deploy changes the policy of what already waits.

    Args:
        attempts: attempts in all, the first included.
        first: the pause after the first failure, in seconds.
        cap: the longest pause, in seconds.
        jitter: the share by which a pause varies at random, 0 to 1.
        inline: of a consumer's attempts, how often each is repeated at once, a few milliseconds later and in a new
            transaction, before it counts as failed: for deadlocks and the like.
    """

    attempts: int = field(default=10, validator=[validators.instance_of(int), validators.ge(1)])
    first: float = field(default=1.0, kw_only=True, validator=validators.ge(0))
    cap: float = field(default=3600.0, kw_only=True, validator=validators.ge(0))
    jitter: float = field(default=0.2, kw_only=True, validator=[validators.ge(0), validators.le(1)])
    inline: int = field(
        default=0, kw_only=True, validator=[validators.instance_of(int), validators.ge(0), validators.le(10)]
    )

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after so many failures."""
        return pause(failures, first=self.first, cap=self.cap, jitter=self.jitter)

    def exhausted(self, failures: int) -> bool:
        """Tell whether so many failures are all that is allowed."""
        return failures >= self.attempts


@frozen
class Pause:
    """
    Say how long a consumer stops, since what its handlers need is down.

    It tries one message after each pause, and pauses for twice as long if that fails in the same way.

    Args:
        first: the first pause, in seconds.
        cap: the longest one, in seconds.
    """

    first: float = field(default=1.0, kw_only=True, validator=validators.gt(0))
    cap: float = field(default=60.0, kw_only=True, validator=validators.gt(0))

    def seconds(self, times: int) -> float:
        """Return how long the pause after so many failures in a row is."""
        return pause(times, first=self.first, cap=self.cap, jitter=0)

    def times(self, before: int, quiet: float) -> int:
        """
        Return how many pauses in a row it is with a new one.

        Args:
            before: pauses up to now.
            quiet: seconds between the end of the last one and the beginning of what has failed now.  If they are more
                than that pause itself, things had gone well in between.
        """
        return before + 1 if before and quiet <= self.seconds(before) else 1
