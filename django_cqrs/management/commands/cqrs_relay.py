"""``manage.py cqrs_relay``: ship what waits in the outbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper

from django_cqrs.consumers import consumers
from django_cqrs.daemon import serve
from django_cqrs.management.errors import end_with, explaining, missing_of
from django_cqrs.management.schemas import add_schemas, the_one
from django_cqrs.overdue import errands
from django_cqrs.processes import multiply
from django_cqrs.promotion import promoters
from django_cqrs.relay import relays
from django_cqrs.schemas import TENANTS
from django_cqrs.single import ship_one
from simplecqrs.loop import Job


class Command(BaseCommand):
    """Ship the outbox to the brokers; any number of these may run."""

    help = "Ship the outbox to the brokers.  Any number of relays may run, on any number of hosts."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="ship one batch per broker and stop")
        parser.add_argument("--max-seconds", type=float, help="stop after so long")
        parser.add_argument("--alive-file", type=Path, help="touch this file every second: for liveness probes")
        parser.add_argument("--drain", action="store_true", help="stop when nothing is left to ship")
        parser.add_argument("--consume", action="store_true", help="run all consumers as well: for small sites")
        parser.add_argument("--route", action="append", default=[], help="only this broker; may be repeated")
        parser.add_argument("--database", action="append", default=[], help="only this alias; may be repeated")
        add_schemas(parser)
        parser.add_argument("--processes", type=int, default=1, help="how many processes work side by side")
        parser.add_argument("--message", type=UUID, help="ship just this pending event, by its message id, and stop")
        parser.add_argument("--out-of-order", action="store_true", help="--message, though its key's earlier ones wait")

    def handle(self, **options: Any) -> None:
        """Run until a signal, or until there is nothing to do."""
        with explaining():
            if options["message"] is not None:
                self._ship_one(options)
            elif options["processes"] > 1:
                end_with(multiply(options["processes"], f"{__name__}.ship", options))
            else:
                end_with(ship(options, out=self.stdout))

    def _ship_one(self, options: Mapping[str, Any]) -> None:
        only = {"routes": options["route"], "databases": options["database"]}
        schemas: list[str] = options["schema"]
        if len(schemas) > 1:
            raise CommandError("--message is in one schema; name that one")
        with the_one(TENANTS, schemas[0], ["cqrs_relay --message"]).entered() if schemas else nullcontext():
            shipped = ship_one(options["message"], out_of_order=options["out_of_order"], **only)
        self.stdout.write(f"{options['message']} is shipped to {', '.join(shipped)}")


def ship(options: Mapping[str, Any], *, out: OutputWrapper) -> int:
    """Run relays, and consumers if asked to; return how many messages these know to be lost."""
    consuming: list[Any] = []

    def make(stopping: Callable[[], bool]) -> list[Job]:
        databases, schemas = options["database"], options["schema"]
        shipping = relays(routes=options["route"], databases=databases, schemas=schemas)
        due = promoters(databases, schemas=schemas)
        consuming[:] = consumers(stopping=stopping, schemas=schemas) if options["consume"] else []
        # Who was told which brokers to ship to has nothing else to do.
        others = [] if options["consume"] or options["route"] else errands(databases, schemas)
        return [*due, *shipping, *consuming, *others]

    serve(
        make, out, once=options["once"], drain=options["drain"], seconds=options["max_seconds"],
        alive=options["alive_file"],
    )  # fmt: skip
    return missing_of(consuming)
