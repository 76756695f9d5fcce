"""Messages for a handler that another release has: they wait for it, and are not acknowledged as nobody's."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from django_cqrs.releases import Handles, newer_than
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotHandledHere
from simplecqrs.queue import DEFERRED

__all__ = ["Awaiting"]


@define(eq=False)
class Awaiting:
    """
    Handles messages, and refuses to drop one that has no handler here if it has one in a newer release.

    A deferred command always has one somewhere: only this project could store it.

    Args:
        receive: handles a message; False: there is no handler for it.
        consumer: who is to handle them.
        mine: what this release has handlers for.
    """

    receive: Callable[[Envelope], bool]
    consumer: str
    mine: Handles

    def __call__(self, envelope: Envelope, /) -> bool:
        if self.receive(envelope):
            return True
        if self.consumer == DEFERRED:
            raise NotHandledHere(
                f"{envelope.name} was deferred, and has no handler in this release: deploy consumers before producers, "
                "and remove a handler when nothing waits for it any more"
            )
        if any(envelope.name in newer.names.get(self.consumer, ()) for newer in newer_than(self.mine)):
            raise NotHandledHere(
                f"{self.consumer} has a handler for {envelope.name} in a newer release, and none in this one"
            )
        return False
