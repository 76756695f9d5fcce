"""``manage.py cqrs_resend``: send once more what a broker has acknowledged and lost."""

from __future__ import annotations

import logging
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from django_cqrs.actions import system_user
from django_cqrs.audit import record
from django_cqrs.conf import settings
from django_cqrs.management.asking import said_moment
from django_cqrs.management.confirming import confirm
from django_cqrs.management.errors import explaining
from django_cqrs.management.schemas import add_schemas
from django_cqrs.places import SchemaPlace, places_of
from django_cqrs.positions import settle
from django_cqrs.relay import choose_aliases, choose_routes
from django_cqrs.resending import Choice, Counted, begins, counted, resend
from simplecqrs.log_fields import named

log = logging.getLogger("django_cqrs")

NO_REASON = "no reason given"

HELP = """
Put events that a broker has acknowledged back into the outbox, out of the history (KEEP_HISTORY), in their order and
with their message ids: whoever has handled them drops them.  With no relay at work meanwhile they go out before what
waits there by now.
"""


class Command(BaseCommand):
    """Send events of the history once more."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        said = "2026-11-21T03:00, or an age: 90m, 2h, 3d"
        parser.add_argument("--route", required=True, help="the broker that has lost them")
        parser.add_argument("--since", required=True, help=f"acknowledged then or later: {said}")
        parser.add_argument("--until", help="acknowledged then or earlier")
        parser.add_argument("--topic")
        parser.add_argument("--name", help="of the event, as it is on the wire")
        parser.add_argument("--key", help="the order key; '' for events without one")
        parser.add_argument("--dry-run", action="store_true", help="only tell what would be sent")
        parser.add_argument("--reason", default="", help="why; recorded")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--database", action="append", default=[], help="only this alias; may be repeated")
        add_schemas(parser)

    def handle(self, **options: Any) -> None:
        """Do it."""
        with explaining():
            choose_routes([options["route"]])
            choice = _choice_of(options)
            places = places_of(choose_aliases(options["database"], options["schema"]), schemas=options["schema"])
            counts = [self._count(place, choice) for place in places]
            if options["dry_run"] or not sum(counts):
                return
            confirm(f"send {sum(counts):,} events to {choice.route} once more", yes=options["yes"])
            for place, count in zip(places, counts, strict=True):
                if count:
                    with place.entered():
                        self._resend(place, choice, count, options["reason"])
            settle(broker=choice.route)

    def _count(self, place: SchemaPlace, choice: Choice) -> int:
        with place.entered():
            each = counted(place.alias, choice)
            self._tell(place, choice, each)
        return sum(one.count for one in each)

    def _tell(self, place: SchemaPlace, choice: Choice, each: list[Counted]) -> None:
        start = begins(place.alias)
        if start is None:
            off = "" if settings().keep_history else "; KEEP_HISTORY is off"
            self.stdout.write(f"{place}: the history is empty{off}")
        elif start > choice.since:
            self.stdout.write(f"{place}: the history begins at {_time(start)}; nothing of before can be sent again")
        for one in each:
            times = f"acknowledged {_time(one.first)} to {_time(one.last)}"
            self.stdout.write(f"{place}: {one.count:,} x {one.name} (topic {one.topic}), {times}")
        if start is not None and not each:
            self.stdout.write(f"{place}: nothing of that was sent to {choice.route}")

    def _resend(self, place: SchemaPlace, choice: Choice, count: int, reason: str) -> None:
        until = "" if choice.until is None else f" until {choice.until.isoformat()}"
        cause = f"acknowledged since {choice.since.isoformat()}{until}"
        who = system_user()
        record(
            place.alias, "resend", who=who, reason=reason, number=count, cause=cause, box="outbox", queue=choice.route,
            topic=choice.topic or "", key=choice.key or "", name=choice.name or "",
        )  # fmt: skip
        log.warning(
            "%s sends %d events to %s once more, %s: %s", who, count, choice.route, cause, reason or NO_REASON,
            extra=named(act="resend", who=who, queue=choice.route, topic=choice.topic, key=choice.key),
        )  # fmt: skip
        total = 0
        for total in resend(place.alias, choice):
            if self.stdout.isatty():
                self.stdout.write(f"\r{place}: {total:,} of {count:,}", ending="")
        self.stdout.write(f"{place}: {total:,} events wait in the outbox for {choice.route} once more")


def _choice_of(options: Any) -> Choice:
    since = said_moment(options["since"], "--since")
    until = None if options["until"] is None else said_moment(options["until"], "--until")
    if until is not None and until < since:
        raise CommandError("--until is before --since")
    given = {name: options[name] for name in ("topic", "name", "key")}
    return Choice(route=options["route"], since=since, until=until, **given)


def _time(moment: Any) -> str:
    return timezone.localtime(moment).isoformat(sep=" ", timespec="seconds")
