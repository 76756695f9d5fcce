"""What brokers' acknowledgements are worth, for who cannot wait for a broker: asked aside, and remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from attrs import define, field
from django.core.signals import setting_changed

from django_cqrs.brokers import broker
from simplecqrs.errors import CQRSError

__all__ = ["UNKNOWN", "ask", "promises"]

#: How the promise of a broker begins that cannot be asked.
UNKNOWN = "not known: "
#: What is said of a broker that has not answered yet.
ASKED = "asked, and has not answered yet"
#: Seconds for which an answer is good, and that one waits for answers.
GOOD, PATIENCE = 60.0, 0.1


def ask(name: str) -> str:
    """Return what a broker's acknowledgement is worth, or why nobody knows; it may take as long as its time-outs."""
    try:
        return broker(name).promise
    except CQRSError as error:
        return f"{UNKNOWN}{error}"


def promises(names: Sequence[str], *, patience: float = PATIENCE) -> dict[str, str]:
    """
    Return what is known of brokers, after a moment at most.

    Each broker is asked in a thread of its own, one at a time and once a minute.

    Args:
        patience: seconds to wait for those of which nothing is known yet.
    """
    asked = {name: _answers.setdefault(name, _Answer()) for name in names}
    for name, answer in asked.items():
        answer.refresh(name)
    ends = time.monotonic() + patience
    for answer in asked.values():
        answer.known.wait(max(0.0, ends - time.monotonic()))
    return {name: answer.said for name, answer in asked.items()}


@define
class _Answer:
    """What a broker has said, and who asks it."""

    said: str = ASKED
    at: float | None = None
    known: threading.Event = field(factory=threading.Event)
    _asking: threading.Lock = field(factory=threading.Lock)

    def refresh(self, name: str, ask: Callable[[str], str] = ask) -> None:
        """Ask, if it is time and nobody is at it."""
        fresh = self.at is not None and time.monotonic() - self.at < GOOD
        if fresh or not self._asking.acquire(blocking=False):
            return
        # A daemon: nobody waits for a broker when the process ends.
        threading.Thread(target=self._ask, args=(name, ask), name=f"cqrs promise {name}", daemon=True).start()

    def _ask(self, name: str, ask: Callable[[str], str]) -> None:
        try:
            self.said = ask(name)
        except Exception as error:  # noqa: BLE001 - whatever a broker's class raises is what there is to say of it
            self.said = f"{UNKNOWN}{error!r}"
        finally:
            self.at = time.monotonic()
            self.known.set()
            self._asking.release()


_answers: dict[str, _Answer] = {}


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DJANGO_CQRS":
        _answers.clear()


setting_changed.connect(_forget)
