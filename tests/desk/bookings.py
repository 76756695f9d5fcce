"""A saga of four steps, which can be told to fail, with the mediator that it is registered with."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from attrs import evolve, frozen

from django_cqrs.models import Saga as Row
from simplecqrs import Retry
from simplecqrs.saga import Saga, Step
from tests.desk.project import Project

__all__ = ["Trip", "Trips"]


@frozen
class Trip:
    """Where somebody goes, and what was done for it."""

    to: str
    booked: tuple[str, ...] = ()


class Trips:
    """The saga ``trip`` of a project."""

    def __init__(self, project: Project, *, name: str = "trip", **options: Any) -> None:
        self.bus = project.bus
        self.project = project
        self.called: list[str] = []
        self.broken: dict[str, BaseException] = {}
        self.saga = Saga(
            name,
            Trip,
            [
                Step("hotel", self.does("hotel"), self.does("no hotel")),
                Step("flight", self.does("flight"), self.does("no flight"), **options),
                Step("leave", self.does("leave"), pivot=True),
                Step("postcard", self.does("postcard"), retry=Retry(1)),
            ],
            compensation_retry=Retry(1),
            registry=project.registry,
        )

    def does(self, what: str) -> Any:
        """Return a function that notes what was done."""

        def step(state: Trip) -> Trip:
            self.called.append(what)
            if what in self.broken:
                raise self.broken[what]
            return evolve(state, booked=(*state.booked, what))

        return step

    def run(self, to: str = "Oslo") -> UUID:
        """Run one as far as it goes, and return its id."""
        return self.saga.run(self.bus, Trip(to), patience=0).saga_id

    def start(self) -> UUID:
        """Store one for the consumer."""
        return self.saga.start(self.bus, Trip("Oslo"))

    def abandon(self) -> UUID:
        """Leave one after its first step, as a process does that ends."""
        steps = self.saga.steps(self.bus, Trip("Oslo"))
        first = next(steps)
        steps.close()
        return first.saga_id

    def status(self, saga_id: UUID) -> str:
        """Return where one is."""
        return str(Row.objects.get(pk=saga_id).status)
