"""The long import: a person at a time, and what has become of the streams that did it."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

from attrs import define, frozen
from django.db import connection, transaction
from django.db.backends.signals import connection_created

from tests.browser.office.models import Person

__all__ = ["Imported", "connected", "import_people", "streams"]


@define
class Streams:
    """How many imports were begun and how many have been closed."""

    begun: int = 0
    closed: int = 0


@frozen
class Imported:
    """How far the import is."""

    number: int
    name: str


streams = Streams()
#: Every connection that was ever made; those of ended requests are shut.
connected: list[object] = []
connection_created.connect(lambda connection, **_: connected.append(connection), weak=False)


def import_people(batch: str, *, skip: int, total: int, pace: float, fail_at: int = 0) -> Iterator[Imported]:
    """Store people, ``pace`` seconds each."""
    streams.begun += 1
    try:
        for number in range(skip + 1, total + 1):
            if number == fail_at:
                raise ValueError("the file's password is 1234")
            with transaction.atomic():
                Person.objects.create(batch=batch, number=number)
            Event().wait(pace)
            yield Imported(number, f"person {number}\nof {batch}")
    finally:
        assert connection.connection is not None
        streams.closed += 1
