"""``manage.py cqrs_purge``: forget what need not be remembered any more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_cqrs.management.errors import explaining
from django_cqrs.purging import horizon, purge
from django_cqrs.relay import aliases


class Command(BaseCommand):
    """Delete ids of messages that were seen before the horizon."""

    help = "Forget ids that consumers have seen more than SEEN_DAYS ago, in small steps.  Nothing else is deleted."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--seconds", type=float, default=60.0, help="stop after so long; run it again for the rest")
        parser.add_argument("--database", action="append", default=[], help="only this alias; may be repeated")

    def handle(self, **options: Any) -> None:
        """Purge."""
        if horizon() is None:
            self.stdout.write("SEEN_DAYS is 0: ids are remembered for ever")
            return
        for alias in options["database"] or aliases():
            with explaining():
                forgotten, whole = purge(alias, seconds=options["seconds"])
            self.stdout.write(f"{alias}: {forgotten:,} ids forgotten{'' if whole else '; there are more'}")
