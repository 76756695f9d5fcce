"""What becomes of a message whose handling failed: by default it is tried again, else as its exception says."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from simplecqrs.backoff import Pause, Retry, pause
from simplecqrs.errors import CommandRefused, InvalidPayload, NewerVersion, NotHandledHere, UnknownMessage
from simplecqrs.registration import Fate, OnDead, OnError, check_on_error

__all__ = ["GRACE", "Policy", "Unclaimed", "look_again", "reason_of"]

#: Seconds that a message waits for another release before it counts as failed: as long as a deploy may take.
GRACE = 900.0
#: What no attempt mends, but another release.
AWAITED = (NewerVersion, NotHandledHere)
#: Seconds after which one looks again at the earliest, and at the latest, whether that release is there.
SOON, LATEST = 1.0, 60.0
#: Characters of a reason that are kept.
LONGEST_REASON = 2000
#: Errors behind an error that its reason names.
CAUSES = 5


class Unclaimed(UnknownMessage):
    """Raised for a message without a handler, which no retry will give one."""


@frozen
class Policy:
    """
    What becomes of a message whose handling failed.

    Args:
        retry: how often it is tried, and when.
        on_dead: what a dead letter does to the followers of its key.
        on_error: other fates, by the exception; of the classes that fit it the nearest counts.
        grace: seconds that a message waits for another release before that counts as a failure.
    """

    retry: Retry = field(factory=Retry)
    on_dead: OnDead = "hold"
    on_error: OnError = field(factory=dict[type[Exception], Fate], validator=check_on_error, hash=False)
    grace: float = GRACE

    @property
    def holds(self) -> bool:
        """Tell whether what follows a dead letter under its key waits for an operator."""
        return self.on_dead == "hold"

    def fate(self, error: Exception) -> Retry | Pause | Literal["discard", "dead-letter", "await"]:
        """Return what becomes of a message that failed with this error; what no retry mends is a dead letter."""
        found: Fate = "retry"
        for cls in type(error).__mro__:
            if cls in self.on_error:
                found = self.on_error[cls]
                break
        if found == "discard" or found == "dead-letter":  # noqa: PLR1714 - checkers do not narrow by `in`
            return found
        if isinstance(error, (CommandRefused, InvalidPayload, Unclaimed)):
            return "dead-letter"
        if isinstance(found, (Retry, Pause)):
            return found
        if found == "pause":
            return Pause()
        return "await" if isinstance(error, AWAITED) else self.retry


def look_again(waited: float) -> float:
    """Return in how many seconds one looks again for what has waited so long for another release."""
    return pause(1, first=max(SOON, waited), cap=LATEST)


def reason_of(error: Exception) -> str:
    """Say what failed, for people: the error, by whose first line letters are grouped, and those behind it."""
    lines, seen = [_say(error)], {id(error)}
    behind = error.__cause__
    while behind is not None and id(behind) not in seen and len(lines) <= CAUSES:
        lines.append(f"because of {_say(behind)}")
        seen.add(id(behind))
        behind = behind.__cause__
    return "\n".join(lines)[:LONGEST_REASON]


def _say(error: BaseException) -> str:
    name = UnknownMessage.__name__ if isinstance(error, Unclaimed) else type(error).__name__
    return f"{name}: {error}"
