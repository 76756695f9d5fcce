"""``manage.py cqrs_dead``: what was given up or waits, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_cqrs.actions import Operator, system_user
from django_cqrs.canary import Canary
from django_cqrs.management.asking import FILTERS, add_filters, wanted_of
from django_cqrs.management.errors import explaining
from django_cqrs.management.letters import list_blocked, list_causes, list_log, show
from django_cqrs.management.schemas import add_schema, looked_at, the_one
from django_cqrs.places import SchemaPlace
from django_cqrs.probes import of_anything, of_log
from django_cqrs.working import work
from simplecqrs.letters import Letter, Wanted
from simplecqrs.log_fields import printable

#: Letters or keys that are looked at in one go.
PAGE = 100
#: Blocked keys that one command brings forward.
MOST = 1000

HELP = """
What could not be delivered or handled: list by cause, show one, retry or skip.

retry of numbers puts just those back.  retry with --all or with filters is careful: it retries one, waits for its
outcome, then ten, then a hundred at a time, and stops as soon as a failure repeats.  For that the relays and consumers
have to be running; --run works the queue in this process instead, and --now neither waits nor stops.
retry with --key also brings forward the next attempt of that key if it is parked; --parked does only that.
Whatever is done is recorded with who, when and why: cqrs_dead log.
"""


class Command(BaseCommand):
    """List, show, retry and skip dead letters."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions."""
        parser.add_argument("action", choices=["list", "show", "retry", "skip", "log"])
        parser.add_argument("ids", nargs="*", type=int, help="numbers of dead letters, as list prints them")
        parser.add_argument("--all", action="store_true", help="retry or skip every one that the filters let through")
        parser.add_argument("--parked", action="store_true", help="list or retry blocked keys, not dead letters")
        parser.add_argument("--reason", default="", help="why; recorded")
        parser.add_argument("--timeout", type=float, default=30.0, help="seconds that retry waits for a stage")
        parser.add_argument("--run", action="store_true", help="retry works the queue here, for want of a worker")
        parser.add_argument("--now", "--no-canary", action="store_true", help="retry all at once and wait for nothing")
        parser.add_argument("--full", action="store_true", help="show the whole payload, however large")
        parser.add_argument("--unmasked", action="store_true", help="show it with what MASK hides")
        parser.add_argument("--limit", type=int, default=20, help="lines per cause, keys or entries that are listed")
        parser.add_argument("--database", default="default")
        add_schema(parser)
        add_filters(parser)

    def handle(self, **options: Any) -> None:
        """Do it."""
        self._options = options
        wanted = wanted_of(options)
        if options["parked"] and options["name"] is not None:
            raise CommandError("--name is no filter of blocked keys: it is a key's messages that wait")
        with explaining():
            for place in self._places():
                with place.entered():
                    self._operator = Operator(place.alias, system_user(), options["reason"])
                    if place.schema is not None:
                        self._say(f"{place}:")
                    getattr(self, f"_{options['action']}")(wanted)

    def _places(self) -> Sequence[SchemaPlace]:
        """Return where to look: lists go through all schemas, what has a number is in one."""
        alias, schema, action = (self._options[name] for name in ("database", "schema", "action"))
        if action in ("list", "log"):
            return looked_at(alias, schema, of_anything() if action == "list" else of_log())
        return [the_one(alias, schema, ["cqrs_dead", action])]

    def _say(self, line: str, *, keep: str = "") -> None:
        """Print a line; what came from outside neither begins another one nor acts on the terminal."""
        self.stdout.write(printable(line, keep=keep))

    def _list(self, wanted: Wanted) -> None:
        listing = list_blocked if self._options["parked"] else list_causes
        for line in listing(self._operator.inspection, wanted, self._options["limit"]):
            self._say(line)

    def _log(self, wanted: Wanted) -> None:
        for line in list_log(self._operator.alias, wanted, self._options["limit"]):
            self._say(line)

    def _show(self, wanted: Wanted) -> None:
        for number in self._numbers():
            for line in show(self._letter(number), full=self._options["full"], unmasked=self._options["unmasked"]):
                self._say(line, keep="\n\t")

    def _skip(self, wanted: Wanted) -> None:
        for letter in self._chosen(wanted):
            if self._operator.skip(letter.id):
                self._say(f"{letter.id} is dropped; what waited behind it goes on")

    def _retry(self, wanted: Wanted) -> None:
        hastened = self._hasten(wanted) if self._options["parked"] or wanted.key is not None else 0
        if self._options["parked"]:
            return
        if self._options["ids"] or self._options["now"]:
            self._retry_now(wanted)
        elif self._is_told(wanted):
            self._retry_carefully(wanted, hastened)
        else:
            self._numbers()

    def _hasten(self, wanted: Wanted) -> int:
        if not self._is_told(wanted):
            raise CommandError("cqrs_dead retry --parked needs --all or a filter, such as --key")
        blocked = self._operator.inspection.blocked(wanted, limit=MOST)
        hastened = [one for one in blocked if self._operator.hasten(one.id)]
        for one in hastened[: self._options["limit"]]:
            where = "the pause" if one.is_pause else f"key {one.key!r} of {one.topic}"
            self._say(f"{where} ({one.box} {one.queue}) is {'over' if one.is_pause else 'tried again'} now")
        if len(hastened) > self._options["limit"] or self._options["parked"]:
            more = f"; {MOST:,} is the most at a time" if len(blocked) == MOST else ""
            self._say(f"{len(hastened):,} blocked keys are tried again now{more}")
        return len(hastened)

    def _retry_now(self, wanted: Wanted) -> None:
        refusals = []
        for letter in self._chosen(wanted):
            if self._operator.retry(letter.id):
                self._say(f"{letter.id} is tried again now")
            else:
                refusals.append(_refusal(letter.id))
        if refusals and self._options["ids"]:
            raise CommandError("; ".join(refusals))
        for refusal in refusals:
            self._say(refusal)

    def _retry_carefully(self, wanted: Wanted, hastened: int) -> None:
        alias = self._operator.alias
        worker = (lambda box, queue: work(alias, box, queue)) if self._options["run"] else None
        canary = Canary(self._operator, self._options["timeout"], self._say, worker)
        result = canary.run(wanted)
        for number in result.refused:
            self._say(_refusal(number))
        for cause, count in result.failed.most_common():
            self._say(f"{count} failed again: {cause}")
        if not result.retried and not hastened:
            self._say("there is no dead letter to retry")
        elif result.retried:
            self._say(f"{result.done:,} of {result.retried:,} went well")
        if result.stopped:
            raise CommandError(f"stopped: {result.stopped}.  {result.left:,} dead letters are left as they were")

    def _is_told(self, wanted: Wanted) -> bool:
        return self._options["all"] or any(getattr(wanted, name) is not None for name in FILTERS)

    def _chosen(self, wanted: Wanted) -> Iterator[Letter]:
        """Go through the letters whose numbers were given, or else through those that the filters let through."""
        if self._options["ids"] or not self._is_told(wanted):
            yield from [self._letter(number) for number in self._numbers()]
            return
        after = 0
        inspection = self._operator.inspection
        while page := inspection.letters(wanted, after=after, limit=PAGE, payloads=False):
            yield from page
            after = page[-1].id

    def _numbers(self) -> list[int]:
        numbers: list[int] = self._options["ids"]
        if not numbers:
            raise CommandError(
                f"cqrs_dead {self._options['action']} needs the numbers of letters, as `cqrs_dead list` prints them, "
                "or filters, or --all"
            )
        return numbers

    def _letter(self, number: int) -> Letter:
        found = self._operator.inspection.letters(after=number - 1, limit=1)
        if not found or found[0].id != number:
            raise CommandError(f"there is no dead letter {number}")
        return found[0]


def _refusal(number: int) -> str:
    return f"{number} was never a readable message, or still is not believed; it can only be skipped"
