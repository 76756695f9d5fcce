"""
A stream whose first source fails in the middle: the second one goes on where it stopped.

It prints::

    1 fresh
    2 fresh
    3 from the archive
    4 from the archive
"""

import logging
from collections.abc import Iterator

from attrs import evolve, frozen

from simplecqrs import Mediator, Stream, fallback, handles

logging.disable()  # a warning says that the backup answers, with the reason


@frozen
class Export(Stream[str]):
    first: int = 1
    last: int = 4


def fresh(stream: Export) -> Iterator[str]:
    for number in range(stream.first, stream.last + 1):
        if number == 3:
            raise ConnectionError("gone")
        yield f"{number} fresh"


def archived(stream: Export) -> Iterator[str]:
    for number in range(stream.first, stream.last + 1):
        yield f"{number} from the archive"


def go_on(stream: Export, taken: int, last: str) -> Export:
    """Return the message that the backup is to answer.  Without it, a failure in the middle reaches the caller."""
    return evolve(stream, first=stream.first + taken)


handles(Export)(fallback(fresh, archived, on=ConnectionError, resume=go_on))
for line in Mediator().stream(Export()):
    print(line)
