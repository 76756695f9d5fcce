"""``manage.py cqrs_consume``: take messages off the brokers and hand them to handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names, consumers
from django_cqrs.daemon import serve
from django_cqrs.entry_fields import DAEMON
from django_cqrs.management.errors import end_with, explaining, missing_of
from django_cqrs.management.going_back import add_arguments, go_back
from django_cqrs.management.schemas import add_schemas
from django_cqrs.mediator import project_mediator
from django_cqrs.places import places_of
from django_cqrs.probes import of_waits
from django_cqrs.processes import multiply
from django_cqrs.releases import end_waits
from django_cqrs.schemas import TENANTS
from simplecqrs.loop import Job


class Command(BaseCommand):
    """Run consumers; any number of these may run."""

    help = "Take messages off the brokers into the inboxes, and out of the inboxes into handlers."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("names", nargs="*", help="consumers; default: all whose engine is the daemon")
        parser.add_argument("--once", action="store_true", help="one fetch and one run per consumer, and stop")
        parser.add_argument("--max-seconds", type=float, help="stop after so long")
        parser.add_argument("--alive-file", type=Path, help="touch this file every second: for liveness probes")
        parser.add_argument("--drain", action="store_true", help="stop when nothing is left to do")
        add_schemas(parser)
        parser.add_argument("--workers", type=int, default=1, help="how many processes work side by side")
        add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Run until a signal, or until there is nothing to do."""
        with explaining():
            if not go_back(options, self.stdout.write):
                return
            if options["workers"] > 1:
                end_with(multiply(options["workers"], f"{__name__}.work", options))
            else:
                end_with(work(options, out=self.stdout))


def work(options: Mapping[str, Any], *, out: OutputWrapper) -> int:
    """Run consumers, and return how many messages are known to be lost."""
    known = consumer_names(project_mediator())
    chosen = options["names"] or [name for name in known if settings().consumer(name).engine == DAEMON]
    if not chosen:
        out.write("there is no consumer to run: no handler has consumer=, and no command can be deferred")
        return 0
    made: list[Any] = []

    def make(stopping: Callable[[], bool]) -> list[Job]:
        made[:] = consumers(*chosen, stopping=stopping, replay=options["replay"], schemas=options["schema"])
        for place in places_of([TENANTS], of_waits(), options["schema"]):
            with place.entered():
                end_waits(chosen)  # this may be the release that messages wait for
        return made

    serve(
        make, out, once=options["once"], drain=options["drain"], seconds=options["max_seconds"],
        alive=options["alive_file"],
    )  # fmt: skip
    return missing_of(made)
