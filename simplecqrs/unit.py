"""A unit of work and the events that share its fate."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from simplecqrs.messages import Event
from simplecqrs.metadata import Context, Metadata, new_metadata

if TYPE_CHECKING:
    from simplecqrs.dispatch import Dispatch

__all__ = ["NOTHING", "OwnUnit", "Published", "Unit", "new_published"]


class Published:
    """
    An event that was published and is still to be handled, stored, or both.

    Attributes:
        plan: what the mediator does with events of this type.
        cause: the dispatch in which it was published.
        root: the dispatch in whose unit of work it is handled.
        within: what ``context(...)`` had set where it was published.
    """

    # No __init__: what ``new_published`` does takes half the time.
    __slots__ = ("cause", "event", "made_metadata", "plan", "root", "within")
    event: Event
    plan: Any
    cause: Dispatch | None
    root: Dispatch | None
    within: Context | None
    made_metadata: Metadata | None

    @staticmethod
    def received(event: Event, plan: Any, metadata: Metadata) -> Published:
        """Return an event that was published elsewhere."""
        published = new_published(event, plan, None, None)
        published.made_metadata = metadata
        return published

    def again(self) -> Published:
        """Return the same event, to be handled once more, as a message of its own."""
        published = new_published(self.event, self.plan, self.cause, self.within)
        published.made_metadata = self.metadata
        return published

    @property
    def generation(self) -> int:
        """Return 1 for what a request caused, 2 for what that caused, and so on."""
        return self.cause.generation + 1 if self.cause is not None else 1

    @property
    def metadata(self) -> Metadata:
        """Return the event's metadata, made when first asked for."""
        if self.made_metadata is None:
            self.made_metadata = new_metadata(self.cause.metadata if self.cause else None, self.within)
        return self.made_metadata


def new_published(event: Event, plan: Any, cause: Dispatch | None, within: Context | None) -> Published:
    """Return an event that was published now."""
    published = Published()
    published.event = event
    published.plan = plan
    published.cause = cause
    published.within = within
    published.root = published.made_metadata = None
    return published


class _Nothing:
    """The plan of an event that was withdrawn: nobody handles it, and it does not go out."""

    now = later = ()
    outward = False


#: What is to be done with an event that was withdrawn.
NOTHING: Final = _Nothing()


class Unit(Protocol):
    """
    A unit of work: what happens in it happens whole or not at all, its events included.

    What ``transaction=`` yields may be one; if not, the mediator keeps the events itself.
    """

    def collect(self, published: Published, /) -> None:
        """Take an event that was published now; it shares the fate of what is written now."""
        ...

    def kept(self, published: list[Published], /) -> list[Published]:
        """Return those that have not been rolled back since, in their order."""
        ...

    def after_commit(self, call: Callable[[], None], /) -> None:
        """Call this once the unit is committed, or never."""
        ...


class OwnUnit:
    """The unit of work of a mediator whose transactions do not bring one."""

    __slots__ = ("after", "outward")

    def __init__(self) -> None:
        self.outward: list[Published] = []
        self.after: list[Callable[[], None]] = []

    def collect(self, published: Published, /) -> None:
        """Take an event, to be shipped when the outermost unit ends."""
        if published.plan.outward:
            self.outward.append(published)

    def kept(self, published: list[Published], /) -> list[Published]:
        """Return them all: what fails here takes its whole list along."""
        return published

    def going_out(self) -> list[Published]:
        """Return what is to be shipped: what was collected, but for what was withdrawn since."""
        return [published for published in self.outward if published.plan.outward]

    def after_commit(self, call: Callable[[], None], /) -> None:
        """Call this when the outermost unit has ended."""
        self.after.append(call)

    def absorb(self, nested: OwnUnit) -> None:
        """Take over what a nested unit that succeeded has collected."""
        self.outward += nested.outward
        self.after += nested.after
