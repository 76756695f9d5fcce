"""Any broker, shaken: it dwells where a kill makes duplicates, and one event breaks the channel it is sent on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.utils.module_loading import import_string

from simplecqrs.envelope import Envelope
from simplecqrs.transport import Receipt
from tests.chaos.project.faults import FOLDER, at

__all__ = ["Shaken"]


class Shaken:
    """
    Wrap the adapter that is put under fire.

    Args:
        backend: the dotted path of its class.
        options: what it is made with.
        breaker: the dotted path of what is done to an event under the key of this name, until it is healed.
    """

    def __init__(self, *, backend: str, options: Mapping[str, Any], breaker: str = "") -> None:
        self._broker: Any = import_string(backend)(**options)
        self._breaker: Callable[[Envelope], Envelope] | None = import_string(breaker) if breaker else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Publish, and dwell."""
        receipts: Sequence[Receipt] = self._broker.publish(list(map(self._made, envelopes)), deadline=deadline)
        at("publish")
        return receipts

    def _made(self, envelope: Envelope) -> Envelope:
        if self._breaker is None or envelope.key != "breaker" or (FOLDER / "healed").exists():
            return envelope
        return self._breaker(envelope)
