"""``manage.py cqrs_relay``: ship what waits in the outbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

from django_cqrs.consumers import consumers
from django_cqrs.daemon import multiply, serve
from django_cqrs.management.errors import explaining
from django_cqrs.relay import relays
from simplecqrs.loop import Job


class Command(BaseCommand):
    """Ship the outbox to the brokers; any number of these may run."""

    help = "Ship the outbox to the brokers.  Any number of relays may run, on any number of hosts."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="ship one batch per broker and stop")
        parser.add_argument("--drain", action="store_true", help="stop when nothing is left to ship")
        parser.add_argument("--consume", action="store_true", help="run all consumers as well: for small sites")
        parser.add_argument("--route", action="append", default=[], help="only this broker; may be repeated")
        parser.add_argument("--database", action="append", default=[], help="only this alias; may be repeated")
        parser.add_argument("--processes", type=int, default=1, help="how many processes work side by side")

    def handle(self, **options: Any) -> None:
        """Run until a signal, or until there is nothing to do."""
        what = (options["route"], options["database"], options["consume"], options["once"], options["drain"])
        with explaining():
            if options["processes"] > 1:
                multiply(options["processes"], f"{__name__}.ship", *what)
            else:
                ship(*what, out=self.stdout)


def ship(
    routes: list[str], databases: list[str], consume: bool, once: bool, drain: bool, *, out: OutputWrapper
) -> None:
    """Run relays, and consumers if asked to."""

    def make(stopping: Callable[[], bool]) -> list[Job]:
        shipping = relays(routes=routes, databases=databases)
        return [*shipping, *(consumers(stopping=stopping) if consume else [])]

    serve(make, out, once=once, drain=drain)
