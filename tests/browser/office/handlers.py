"""The long import, and what has become of the streams that did it."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

from attrs import define
from django.db import connection

from simplecqrs import handles
from tests.browser.office.messages import Imported, ImportPeople
from tests.browser.office.models import Person

__all__ = ["import_people", "streams"]


@define
class Streams:
    """How many imports were begun and how many have been closed."""

    begun: int = 0
    closed: int = 0


streams = Streams()


@handles(ImportPeople, transaction="item")
def import_people(message: ImportPeople) -> Iterator[Imported]:
    """Store people, and tell of each once they are committed."""
    streams.begun += 1
    try:
        for number in range(message.skip + 1, message.total + 1):
            if number == message.fail_at:
                raise ValueError("the file's password is 1234")
            Person.objects.create(batch=message.batch, number=number)
            Event().wait(message.pace)
            yield Imported(number, f"person {number}\nof {message.batch}")
    finally:
        assert connection.connection is not None, "it is shut only after this"
        streams.closed += 1
