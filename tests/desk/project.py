"""A project of a test's own: a mediator that relay, consumers, checks and commands use while the test runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction

from django_cqrs import DjangoMediator
from django_cqrs.consumers import consumers
from django_cqrs.inspection import DjangoInspection
from django_cqrs.loops import run
from django_cqrs.relay import relays
from simplecqrs import Publish, Registry
from simplecqrs.queue import Letter

__all__ = ["BUS", "Project"]

#: What the setting MEDIATOR is in such a test.
BUS = f"{__name__}.current_bus"


class Project:
    """A mediator, and what its consumers were called with."""

    current: Project

    def __init__(self) -> None:
        self.registry = Registry()
        self.bus = DjangoMediator(self.registry)
        self.seen: list[str] = []
        Project.current = self

    def consume(self, *events: type[Any], work: Callable[[Any, Publish], None] | None = None, **options: Any) -> None:
        """Register a handler with consumer=, which remembers what came and then does some work."""

        def handle(event: Any, publish: Publish) -> None:
            self.seen.append(f"{options['consumer']} {event.who}{getattr(event, 'step', '')}")
            if work is not None:
                work(event, publish)

        for event in events:
            self.registry.add(event, handle, **options)

    def publish(self, *events: Any) -> None:
        """Publish in one transaction."""
        with transaction.atomic():
            for event in events:
                self.bus.publish(event)

    def ship(self) -> None:
        """Run the relays until the outbox is empty."""
        consumers()  # they write down what they want
        run(relays(), drain=True)

    def work(self, *names: str) -> None:
        """Run consumers until there is nothing to do."""
        run(consumers(*names), drain=True)

    def letters(self) -> list[Letter]:
        """Return what is dead."""
        return list(DjangoInspection("default").letters())


def __getattr__(name: str) -> Any:
    if name == "current_bus":
        return Project.current.bus
    raise AttributeError(name)
