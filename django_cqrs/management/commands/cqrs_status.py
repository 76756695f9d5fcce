"""``manage.py cqrs_status``: how much waits, how long, and what is stuck."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import asdict
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from django_cqrs.alarms import Limits
from django_cqrs.management.errors import explaining
from django_cqrs.management.letters import count_of
from django_cqrs.management.pulse import consumer_lines, flow_lines, worker_lines
from django_cqrs.management.schemas import add_schemas
from django_cqrs.management.storage import storage_lines
from django_cqrs.status import Status, read_status
from simplecqrs.log_fields import printable

DEFAULTS = Limits()
#: The exit code of a check that could not look.
BLIND = 2


class Command(BaseCommand):
    """Print the backlogs on both sides."""

    help = "Tell backlogs, throughput and critical time, who works, what is parked and dead, sagas, brokers; alarms."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON; counts stop at 10,001")
        parser.add_argument(
            "--check", action="store_true", help="end with 1 if there is an alarm, 2 if nobody can tell"
        )
        parser.add_argument(
            "--max-age", type=float, default=DEFAULTS.age, help="seconds that a message may be pending; else an alarm"
        )
        parser.add_argument(
            "--max-dead", type=int, default=DEFAULTS.dead, help="dead letters of a queue; else an alarm"
        )
        parser.add_argument(
            "--min-hours", type=float, default=DEFAULTS.full, help="hours until the disk is full; fewer are an alarm"
        )
        parser.add_argument(
            "--max-critical", type=float, default=DEFAULTS.critical,
            help="seconds from stored to done, on average of five minutes; else an alarm.  Default: any",
        )  # fmt: skip
        parser.add_argument(
            "--max-silent", type=float, default=DEFAULTS.silent,
            help="seconds that a queue may have work and nobody who works there; else an alarm",
        )  # fmt: skip
        add_schemas(parser)

    def handle(self, **options: Any) -> None:
        """Print the status."""
        status = self._read(options)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(status), indent=2))
        else:
            self._print(status)
        if options["check"] and status.alarms:
            raise CommandError(f"{len(status.alarms)} alarms; the first: {status.alarms[0]}")

    def _read(self, options: Mapping[str, Any]) -> Status:
        names = {
            "age": "max_age",
            "dead": "max_dead",
            "critical": "max_critical",
            "silent": "max_silent",
            "full": "min_hours",
        }
        limits = Limits(**{name: options[option] for name, option in names.items()})
        try:
            with explaining():
                return read_status(limits, schemas=options["schema"])
        except (CommandError, Error) as error:
            if not options["check"]:
                raise
            raise CommandError(f"nobody can tell: {error}", returncode=BLIND) from error

    def _say(self, line: str) -> None:
        """Print a line; what came from outside neither begins another one nor acts on the terminal."""
        self.stdout.write(printable(line))

    def _print(self, status: Status) -> None:
        self._print_queues(status)
        for line in (*flow_lines(status.flows), *consumer_lines(status.consumers), *worker_lines(status.workers)):
            self._say(line)
        for cause in status.causes:
            self._say(f"dead {count_of(cause.count)} x {cause.box} {cause.queue}: {cause.cause}")
        for key in status.keys:
            self._say(
                f"blocked {key.key!r} of {key.topic} ({key.box} {key.queue}) for {key.since:,.0f} s, "
                f"{count_of(key.waiting)} wait: {key.cause}"
            )
        for alias in dict.fromkeys(count.database for count in status.sagas):
            counts = [f"{count_of(c.count)} {c.status}" for c in status.sagas if c.database == alias]
            self._say(f"sagas {alias}: {', '.join(counts)}")
        for broker in status.brokers:
            self._say(f"broker {broker.name}: {broker.promise}")
        for line in storage_lines(status.storage):
            self._say(line)
        for alarm in status.alarms:
            self.stdout.write(self.style.WARNING(printable(f"ALARM {alarm}")))

    def _print_queues(self, status: Status) -> None:
        self._say(
            f"{'database':10} {'box':7} {'queue':20} {'pending':>9} {'oldest':>9} {'parked':>8} {'blocked':>8}"
            f" {'dead':>8} {'scheduled':>9} {'due':>11}"
        )
        for queue in status.queues:
            oldest = "-" if queue.oldest is None else f"{queue.oldest:,.1f} s"
            due = "-" if queue.next_due is None else f"{queue.next_due:,.0f} s"
            self._say(
                f"{queue.database:10} {queue.box:7} {queue.queue:20} {count_of(queue.pending):>9} {oldest:>9}"
                f" {count_of(queue.parked):>8} {count_of(queue.blocked):>8} {count_of(queue.dead):>8}"
                f" {count_of(queue.scheduled):>9} {due:>11}"
            )
        if not status.queues:
            self._say("nothing waits")
