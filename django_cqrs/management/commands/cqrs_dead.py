"""``manage.py cqrs_dead``: what was given up, and what to do with it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_cqrs.inspection import DjangoInspection
from django_cqrs.management.errors import explaining
from simplecqrs.queue import Letter


class Command(BaseCommand):
    """List, show, retry and skip dead letters."""

    help = "What could not be delivered or handled: list by cause, show one, retry or skip."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the actions."""
        parser.add_argument("action", choices=["list", "show", "retry", "skip"])
        parser.add_argument("ids", nargs="*", type=int, help="numbers of dead letters, as list prints them")
        parser.add_argument("--all", action="store_true", help="retry or skip every one")
        parser.add_argument("--database", default="default")

    def handle(self, **options: Any) -> None:
        """Do it."""
        inspection = DjangoInspection(options["database"])
        with explaining():
            letters = {letter.id: letter for letter in inspection.letters()}
        if options["action"] == "list":
            self._list(list(letters.values()))
            return
        ids = list(letters) if options["all"] and options["action"] != "show" else options["ids"]
        if not ids:
            raise CommandError(
                f"cqrs_dead {options['action']} needs the numbers of letters, as `cqrs_dead list` prints them"
            )
        unknown = [number for number in ids if number not in letters]
        if unknown:
            raise CommandError(f"there is no dead letter {', '.join(map(str, unknown))}")
        act = {"show": self._show, "retry": self._retry, "skip": self._skip}[options["action"]]
        refusals = [refusal for number in ids if (refusal := act(inspection, letters[number]))]
        if refusals and not options["all"]:
            raise CommandError("; ".join(refusals))
        for refusal in refusals:
            self.stdout.write(refusal)

    def _list(self, letters: list[Letter]) -> None:
        if not letters:
            self.stdout.write("no dead letters")
        for (box, queue, cause), count in Counter((x.box, x.queue, x.cause) for x in letters).most_common():
            self.stdout.write(f"{count:,} x {box} {queue}: {cause}")
            for letter in [x for x in letters if (x.box, x.queue, x.cause) == (box, queue, cause)][:20]:
                self.stdout.write(
                    f"    {letter.id}  {letter.since:%Y-%m-%d %H:%M:%S}  {letter.name}  key={letter.key!r}"
                )

    def _show(self, inspection: DjangoInspection, letter: Letter) -> str | None:
        for name in (
            "id",
            "box",
            "queue",
            "name",
            "topic",
            "key",
            "message_id",
            "attempts",
            "since",
            "reason",
            "headers",
        ):
            self.stdout.write(f"{name:11} {getattr(letter, name)}")
        self.stdout.write(f"payload     {letter.payload!r}")
        return None

    def _retry(self, inspection: DjangoInspection, letter: Letter) -> str | None:
        if not inspection.retry(letter.id):
            return f"{letter.id} was never a readable message; it can only be skipped"
        self.stdout.write(f"{letter.id} is tried again now")
        return None

    def _skip(self, inspection: DjangoInspection, letter: Letter) -> str | None:
        inspection.skip(letter.id)
        self.stdout.write(f"{letter.id} is dropped; what waited behind it goes on")
        return None
