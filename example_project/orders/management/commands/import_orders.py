"""``manage.py import_orders FILE.csv``: one command per line."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_cqrs import bus
from orders.errors import OrderRefused
from orders.messages import PlaceOrder
from simplecqrs import load
from simplecqrs.errors import InvalidPayload


class Command(BaseCommand):
    """Place the orders of a file."""

    help = "Place an order for each line of a CSV file with the columns email, product and quantity."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", type=Path)

    def handle(self, *, file: Path, **_: Any) -> None:
        """Import; lines that cannot be imported stop nobody, and are told of."""
        try:
            with file.open(newline="", encoding="utf-8-sig") as lines:
                imported, bad = self._import(lines)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}") from error
        self.stdout.write(f"{imported:,} orders placed, {bad:,} lines refused")
        if bad:
            raise CommandError(f"{bad:,} of {imported + bad:,} lines were not imported; they are named above")

    def _import(self, lines: TextIO) -> tuple[int, int]:
        imported = bad = 0
        for number, fields in read(lines):
            try:
                bus.send(load(PlaceOrder, fields))
                imported += 1
            except (InvalidPayload, ValidationError, OrderRefused) as error:
                bad += 1
                self.stderr.write(f"line {number}: {reason(error)}")
            if (imported + bad) % 100 == 0:
                self._tell(imported + bad)
        return imported, bad

    def _tell(self, done: int) -> None:
        """Show the progress: on a terminal in one place, elsewhere now and then."""
        if self.stdout.isatty():
            self.stdout.write(f"\r{done:,} lines", ending="\r")
            self.stdout.flush()
        elif done % 500 == 0:
            self.stdout.write(f"{done:,} lines")


def read(lines: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """Give each line's number and fields, a quantity as a number if it is one."""
    reader = csv.DictReader(lines, restkey="more columns than names")
    for fields in reader:
        quantity = fields.get("quantity") or ""
        yield reader.line_num, {**fields, "quantity": int(quantity) if quantity.isdecimal() else quantity}


def reason(error: Exception) -> str:
    """Say in one line what is wrong with a line."""
    if isinstance(error, InvalidPayload):
        return "; ".join(f"{path}: {why}" if path else why for path, why in error.errors)
    return "; ".join(error.messages) if isinstance(error, ValidationError) else str(error)
