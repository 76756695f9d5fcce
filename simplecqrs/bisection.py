"""The search for the event that breaks whatever it is sent with, such as one that closes the channel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from simplecqrs.envelope import Envelope
from simplecqrs.transport import UNKNOWN, Receipt, order_of, refused

__all__ = ["Bisection"]

#: How often an event has to fail by itself, each time beside a broker that answers.
ALONE = 3
REASON = "the broker takes nothing while this event is among it, and answers otherwise"


@frozen
class Bisection:
    """
    Send a batch in halves, down to single events.

    Args:
        publish: sends envelopes and returns their receipts; all are unknown if the broker was down.
        ping: raises BrokerDown if the broker does not answer.
        until: monotonic seconds; what is not sent then stays unknown.
    """

    publish: Callable[[Sequence[Envelope]], Sequence[Receipt]]
    ping: Callable[[], None]
    until: float

    def search(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        """
        Return receipts for all, in their order; one that fails by itself is refused.

        Raises:
            BrokerDown: if the broker is down after all; then nothing is known of any envelope.
        """
        if len(envelopes) == 1:
            return [self._send_alone(envelopes[0])]
        half = len(envelopes) // 2
        first = self._search_half(envelopes[:half])
        stopped = {order_of(e) for e, receipt in zip(envelopes, first, strict=False) if receipt.status != "accepted"}
        open_ = [e for e in envelopes[half:] if not e.key or order_of(e) not in stopped]
        second = iter(self._search_half(open_))
        return [*first, *self._spread(envelopes[half:], open_, second)]

    def _search_half(self, envelopes: Sequence[Envelope]) -> list[Receipt]:
        if not envelopes or time.monotonic() > self.until:
            return [UNKNOWN] * len(envelopes)
        receipts = list(self.publish(envelopes))
        if all(receipt.status == "unknown" for receipt in receipts):
            self.ping()
            return self.search(envelopes)
        return receipts

    def _send_alone(self, envelope: Envelope) -> Receipt:
        for _ in range(ALONE):
            receipt = self.publish([envelope])[0]
            if receipt.status != "unknown":
                return receipt
            self.ping()
        return refused(REASON)

    def _spread(
        self, envelopes: Sequence[Envelope], sent: Sequence[Envelope], receipts: Iterator[Receipt]
    ) -> Iterator[Receipt]:
        """Give those that were not sent, since their key had stopped, the receipt that says so."""
        ids = {id(envelope) for envelope in sent}
        for envelope in envelopes:
            yield next(receipts) if id(envelope) in ids else UNKNOWN
