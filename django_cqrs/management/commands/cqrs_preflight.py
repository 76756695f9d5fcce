"""``manage.py cqrs_preflight``: what would break if this release took over what waits now."""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_cqrs.brokers import INBOXES
from django_cqrs.findings import Finding
from django_cqrs.management.errors import explaining
from django_cqrs.mediator import project_mediator
from django_cqrs.places import places_of
from django_cqrs.preflight import Preflight, preflight
from django_cqrs.releases import handles_of, settle
from simplecqrs.log_fields import printable


class Command(BaseCommand):
    """Look before a deploy."""

    help = (
        "With the code of a new release, read all that waits in the running one's tables, and end with 1 if there is "
        "something that it could not handle.  Nothing is changed, and no broker is asked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument(
            "--rows", type=int, default=1_000_000, help="look at so many rows of each table at most, the oldest first"
        )
        parser.add_argument(
            "--samples", type=int, default=5, help="decode so many messages of each name and version, and of each saga"
        )
        parser.add_argument("--dead", action="store_true", help="look at dead letters, too: could they be retried?")
        parser.add_argument(
            "--newest",
            action="store_true",
            help="only declare that this release is the newest one: what came later was withdrawn, and is waited for "
            "no more",
        )

    def handle(self, **options: Any) -> None:
        """Look, and print it."""
        with explaining():
            bus = project_mediator()
            if options["newest"]:
                for place in places_of([INBOXES]):
                    with place.entered():
                        settle(handles_of(bus))
                self.stdout.write("this release is the newest one now")
                return
            found = preflight(bus, most=options["rows"], samples=options["samples"], dead=options["dead"])
        if options["json"]:
            self.stdout.write(json.dumps(asdict(found), indent=2))
        else:
            self._print(found)
        if found.problems:
            kinds = ", ".join(dict.fromkeys(problem.kind for problem in found.problems))
            raise CommandError(f"{len(found.problems)} problems: {kinds}")

    def _print(self, found: Preflight) -> None:
        for look in found.looked_at:
            more = "" if look.whole else "; there are more: --rows"
            self.stdout.write(f"looked at {look.rows:,} rows of {look.table} on {look.database}{more}")
        for problem in found.problems:
            self.stdout.write(self.style.ERROR(f"PROBLEM {_said(problem)}"))
        for note in found.notes:
            self.stdout.write(self.style.WARNING(f"note: {_said(note)}"))
        if not found.problems:
            self.stdout.write("nothing that waits would break")


def _said(found: Finding) -> str:
    """Say what was found, in two lines."""
    number = f"{found.count:,} " if found.count else ""
    name = f"x {found.name} version {found.version} " if found.name else ""
    first = f"{found.kind}: {number}{name}in {found.where} ({found.database}): {found.what}"
    return f"{printable(first)}\n    {printable(found.cure)}"
