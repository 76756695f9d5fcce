"""How far a consumer is in the partitions of a topic, and how a committed offset says it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from simplecqrs.envelope import Envelope
from simplecqrs.transport import Garbage

__all__ = ["Place", "read_ahead", "write_ahead"]

#: What stands before the ranges in the metadata of a committed offset.
MARK: Final = "stored ahead: "
RANGES: Final = re.compile(r"\d{1,18}(-\d{1,18})?(,\d{1,18}(-\d{1,18})?)*")
#: Brokers take 4,096 bytes of metadata.  What does not fit in comes once more.
LONGEST_METADATA: Final = 4_000
#: Offsets ahead that are believed in, whoever wrote them.
MOST_AHEAD: Final = 100_000


@define
class Place:
    """
    A consumer's place in one partition.

    Attributes:
        done: all below it is stored on our side, as the server says.
        ahead: what is stored besides.
        next: the offset after the last that was read; all from ``start`` on is in ``entries``, or not there.
        entries: what was read and is not known to be stored, by offset, in their order.
        at_end: nothing more is there, or has come for a while.
        is_new: the server knows of no place, so the consumer is here for the first time.
    """

    done: int = 0
    ahead: set[int] = field(factory=set[int])
    start: int = 0
    next: int = 0
    entries: dict[int, Envelope | Garbage] = field(factory=dict[int, Envelope | Garbage])
    at_end: bool = False
    is_new: bool = False

    def go_to(self, offset: int) -> None:
        """Begin to read at an offset, with nothing read."""
        self.start = self.next = offset
        self.entries = {}
        self.at_end = False

    def take(self, offset: int, content: Envelope | Garbage) -> None:
        """Take what was read."""
        self.next = offset + 1
        self.at_end = False
        if offset >= self.done:
            self.entries[offset] = content

    def believe(self, done: int, ahead: set[int]) -> bool:
        """Take over what the server says; false if what was read has nothing to do with it."""
        self.done, self.ahead = done, ahead
        if not self.start <= done <= self.next:
            return False
        for offset in [offset for offset in self.entries if offset < done]:
            del self.entries[offset]
        self.start = done
        return True

    def open(self) -> list[int]:
        """Return what was read and is not stored."""
        return [offset for offset in self.entries if offset not in self.ahead] if self.ahead else list(self.entries)

    def acknowledge(self, offsets: Iterable[int]) -> bool:
        """Note what is stored, and tell whether that is news."""
        before = self.done, len(self.ahead)
        self.ahead.update(offset for offset in offsets if offset >= self.done)
        read = self.start <= self.done <= self.next
        first_open = next(iter(self.open()), self.next) if read else self.done
        self.done = max(self.done, first_open)
        self.ahead = {offset for offset in self.ahead if offset >= self.done}
        for offset in [offset for offset in self.entries if offset < self.done]:
            del self.entries[offset]
        if read:
            self.start = self.done
        return before != (self.done, len(self.ahead))


def write_ahead(ahead: Iterable[int]) -> str:
    """Return what is stored ahead as text; the farthest are left out where it gets too long."""
    ranges = list[list[int]]()
    for offset in sorted(ahead):
        if ranges and ranges[-1][1] == offset - 1:
            ranges[-1][1] = offset
        else:
            ranges.append([offset, offset])
    text = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
    if len(text) > LONGEST_METADATA:
        text = text[: text.rindex(",", 0, LONGEST_METADATA)]
    return MARK + text if text else ""


def read_ahead(text: str | None) -> set[int]:
    """Return what a text says is stored ahead; what others may have written there says nothing."""
    ranges = (text or "").removeprefix(MARK)
    if ranges == text or not RANGES.fullmatch(ranges):
        return set()
    ahead = set[int]()
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        span = range(int(first), int(last or first) + 1)
        if len(span) + len(ahead) > MOST_AHEAD:
            break
        ahead.update(span)
    return ahead
