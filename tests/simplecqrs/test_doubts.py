"""A consumer's handler can ask whether somebody may have begun with its message before, and did not come back."""

from __future__ import annotations

from simplecqrs.doubts import tried
from simplecqrs.envelope import Envelope
from tests.simplecqrs.dying import Mailing


class Asking(Mailing):
    """Notes for each message whether it may have been begun before, and how often it has failed."""

    def __init__(self) -> None:
        super().__init__(lanes=1)
        self.told: list[tuple[str, bool, int]] = []

    def receive(self, envelope: Envelope) -> bool:
        self.told.append((envelope.payload.decode(), tried.before, tried.failures))
        return super().receive(envelope)


def test_what_nobody_has_begun_is_not_doubted() -> None:
    """Neither the first message of a run nor those that follow; nor what comes from a worker that has left in order."""
    asking = Asking()
    asking.store("a1", "b1")
    asking.work(5)
    asking.worker.close()
    asking.worker = asking.hire()
    asking.store("c1")

    asking.work(5)

    assert asking.told == [("a1", False, 0), ("b1", False, 0), ("c1", False, 0)]


def test_what_a_worker_died_of_is_doubted() -> None:
    """Wherever it stood in its run."""
    asking = Asking()
    asking.deadly = {"b1"}
    asking.store("a1", "b1", "c1")
    assert asking.work(1) == 1
    asking.deadly = set()

    asking.work(5)

    assert asking.told[:2] == [("a1", False, 0), ("b1", False, 0)]
    assert ("b1", True, 0) in asking.told[2:]


def test_what_has_failed_is_doubted_at_its_retry() -> None:
    """It knows how often."""
    asking = Asking()
    asking.bad = {"a1"}
    asking.store("a1")
    asking.work(1)
    asking.bad, asking.now = set(), asking.now + 1000

    asking.work(5)

    assert asking.told == [("a1", False, 0), ("a1", True, 1)]
