"""``manage.py cqrs_status``: how much waits, how long, and what is stuck."""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict
from django.core.management.base import BaseCommand, CommandParser

from django_cqrs.management.errors import explaining
from django_cqrs.status import Status, read_status


class Command(BaseCommand):
    """Print the backlogs on both sides."""

    help = "Tell backlogs, the age of the oldest, what is parked and dead, and what the brokers' word is worth."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, **options: Any) -> None:
        """Print the status."""
        with explaining():
            status = read_status()
        if options["json"]:
            self.stdout.write(json.dumps(asdict(status), indent=2))
        else:
            self._print(status)

    def _print(self, status: Status) -> None:
        self.stdout.write(
            f"{'database':10} {'box':7} {'queue':20} {'pending':>9} {'oldest':>9} {'parked':>8} {'blocked':>8}"
            f" {'dead':>6} {'scheduled':>9} {'due':>11}"
        )
        for queue in status.queues:
            oldest = "-" if queue.oldest is None else f"{queue.oldest:,.1f} s"
            due = "-" if queue.next_due is None else f"{queue.next_due:,.0f} s"
            self.stdout.write(
                f"{queue.database:10} {queue.box:7} {queue.queue:20} {queue.pending:9,} {oldest:>9} {queue.parked:8,}"
                f" {queue.blocked:8,} {queue.dead:6,} {queue.scheduled:9,} {due:>11}"
            )
        if not status.queues:
            self.stdout.write("nothing waits")
        for broker in status.brokers:
            self.stdout.write(f"broker {broker.name}: {broker.promise}")
        for warning in status.warnings:
            self.stdout.write(self.style.WARNING(warning))
