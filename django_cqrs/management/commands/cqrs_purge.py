"""``manage.py cqrs_purge``: forget what need not be remembered any more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_cqrs.cdc import cdc_brokers
from django_cqrs.conf import settings
from django_cqrs.management.errors import explaining
from django_cqrs.management.letters import count_of
from django_cqrs.management.schemas import add_schemas
from django_cqrs.places import SchemaPlace, places_of
from django_cqrs.purging import ALL, LEFT, SEEN, Remembered, horizon, number_of, purge
from django_cqrs.relay import choose_aliases
from django_cqrs.storage import note_sizes
from django_cqrs.trimming import StreamTrim, complaints, trim

#: The word for what brokers keep.
STREAMS = "streams"
KINDS = {of.kind: of for of in ALL}


class Command(BaseCommand):
    """Delete what is older than SEEN_DAYS and its like say."""

    help = (
        "Forget ids of messages (SEEN_DAYS), idempotency keys (IDEMPOTENCY_DAYS), sagas that have ended and events "
        "that none waited for (SAGA_DAYS), dead letters (DEAD_DAYS), the record of operators' acts (ACTION_DAYS), "
        "tallies (TALLY_DAYS), what was shipped (KEEP_HISTORY), and what all consumers have acknowledged of brokers' "
        "streams (STREAM_DAYS), in small steps.  A setting of 0 days is for ever.  Nothing else is deleted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        words = [*KINDS, STREAMS]
        parser.add_argument("kind", nargs="*", help=f"of {', '.join(words)}; default: all")
        parser.add_argument("--dry-run", action="store_true", help="delete nothing, and count; counts stop at 10,001")
        parser.add_argument("--days", type=float, help="keep what is younger, whatever the kind's setting says")
        parser.add_argument("--seconds", type=float, default=60.0, help="stop after so long; run it again for the rest")
        parser.add_argument("--database", action="append", default=[], help="only this alias; may be repeated")
        add_schemas(parser)

    def handle(self, **options: Any) -> None:
        """Purge."""
        chosen = options["kind"] or [kind for kind in [*KINDS, STREAMS] if kind != LEFT.kind or cdc_brokers()]
        self._refuse(chosen, options)
        with explaining():
            places = places_of(choose_aliases(options["database"], options["schema"]), schemas=options["schema"])
            for word in chosen:
                if word != STREAMS:
                    self._purge(KINDS[word], places, options)
            for place in [] if options["dry_run"] else places:
                with place.entered():
                    note_sizes(place.alias)
            if STREAMS in chosen and not options["database"] and not options["schema"]:
                self._trim(options)

    def _refuse(self, chosen: list[str], options: dict[str, Any]) -> None:
        for word in chosen:
            if word not in {*KINDS, STREAMS}:
                raise CommandError(f"there is no kind {word!r}; there are {', '.join([*KINDS, STREAMS])}")
        days = options["days"]
        if days is None:
            return
        if not options["kind"] or days <= 0:
            raise CommandError("--days is for the kinds that are named, and more than 0: cqrs_purge dead --days 90")
        if SEEN.kind in chosen and (days < settings().seen_days or not settings().seen_days):
            raise CommandError(
                f"--days {days:g}: what a consumer takes for new is decided by SEEN_DAYS={settings().seen_days:g}; "
                "whoever forgets ids earlier lets messages be handled twice.  Change the setting"
            )

    def _purge(self, of: Remembered, places: list[SchemaPlace], options: dict[str, Any]) -> None:
        days = options["days"]
        if horizon(of, days) is None:
            self.stdout.write(f"{of.setting} is 0: {of.what} are remembered for ever")
            return
        for place in places:
            with place.entered():
                self._purge_here(of, place, options)

    def _purge_here(self, of: Remembered, place: SchemaPlace, options: dict[str, Any]) -> None:
        days = options["days"]
        if options["dry_run"]:
            number = number_of(place.alias, of, days=days)
            self.stdout.write(f"{place}: {count_of(number)} {of.what} would be forgotten")
            return
        forgotten, whole = purge(place.alias, of=of, days=days, seconds=options["seconds"])
        self.stdout.write(f"{place}: {forgotten:,} {of.what} forgotten{'' if whole else '; there are more'}")

    def _trim(self, options: dict[str, Any]) -> None:
        if not settings().stream_days and options["days"] is None:
            self.stdout.write("STREAM_DAYS is 0: what brokers keep is left to them")
            return
        streams: list[StreamTrim] = []
        for stream in trim(seconds=options["seconds"], days=options["days"], dry_run=options["dry_run"]):
            streams.append(stream)
            if not stream.error:
                self.stdout.write(_said(stream, dry_run=options["dry_run"]))
        complaints(streams)


def _said(stream: StreamTrim, *, dry_run: bool) -> str:
    trimmed = stream.trimmed
    done = f"{count_of(trimmed.entries)} entries would be" if dry_run else f"{trimmed.entries:,} entries were"
    held = f"; {trimmed.held_by} has not acknowledged what came then" if trimmed.held_by else ""
    before = f" before {trimmed.before:%Y-%m-%d %H:%M:%S}{held}" if trimmed.before else held
    more = "" if trimmed.whole else "; there are more"
    return f"{stream.broker}: {done} trimmed of {stream.topic}{before}{more}"
