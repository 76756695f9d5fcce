"""``manage.py cqrs_purge``: forget what need not be remembered any more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_cqrs.management.errors import explaining
from django_cqrs.purging import ALL, horizon, purge
from django_cqrs.relay import aliases


class Command(BaseCommand):
    """Delete ids, idempotency keys and sagas that came before the horizon."""

    help = (
        "Forget ids that consumers have seen more than SEEN_DAYS ago, idempotency keys of more than "
        "IDEMPOTENCY_DAYS ago, sagas that have ended, or events that none waited for, more than SAGA_DAYS ago, and "
        "tallies of more than TALLY_DAYS ago, in small steps.  Nothing else is deleted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--seconds", type=float, default=60.0, help="stop after so long; run it again for the rest")
        parser.add_argument("--database", action="append", default=[], help="only this alias; may be repeated")

    def handle(self, **options: Any) -> None:
        """Purge."""
        for of in ALL:
            if horizon(of) is None:
                self.stdout.write(f"{of.setting} is 0: {of.what} are remembered for ever")
                continue
            for alias in options["database"] or aliases():
                with explaining():
                    forgotten, whole = purge(alias, of=of, seconds=options["seconds"])
                self.stdout.write(f"{alias}: {forgotten:,} {of.what} forgotten{'' if whole else '; there are more'}")
