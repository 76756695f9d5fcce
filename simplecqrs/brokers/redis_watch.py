"""What is missing in a Redis stream, or in a server that came back as it was before."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from simplecqrs.brokers.redis_server import is_an_answer

__all__ = ["LOOK", "Watch", "before"]

#: Seconds between two looks, each of which is one round trip.
LOOK: Final = 5.0
#: The id that is less than all others, and one that an entry of a millisecond never exceeds.
FIRST, MOST = "0-0", 2**64 - 1
HELP: Final = "see docs/recovery.md"

log = logging.getLogger("simplecqrs.brokers.redis")


def before(since: datetime | None) -> str:
    """Return the id after which all entries stand that came at a time or later; None: all that there are."""
    if since is None:
        return FIRST
    return f"{max(0, int(since.timestamp() * 1000) - 1)}-{MOST}"


class Watch:
    """
    Notices what is missing in a stream before a group has read it.

    Redis 7 counts what was ever added and read, so that what was trimmed away unread can be counted; older ones tell
    only of a server that came back as it was before.

    Attributes:
        lost: how many entries at least; where nobody can count them, one.
        mark: the last entry that was acknowledged; empty: none.
    """

    def __init__(self, stream: str, group: str) -> None:
        self.lost = 0
        self.mark = ""
        self._stream = stream
        self._group = group
        self._looked = float("-inf")
        self._is_made = False
        self._passed = 0

    def made(self) -> None:
        """Note that the group was not there."""
        self._is_made = True

    def compare(self, mark: str) -> None:
        """Take over a mark of an earlier time, of another process perhaps."""
        self.mark = mark
        self._looked = float("-inf")
        if self._is_made and mark:
            self.gone()

    def gone(self) -> None:
        """Sound an alarm: the group is gone, and with it perhaps the stream."""
        self._is_made, self.mark = False, ""
        text = "%s: the group is gone, and is made again: %s reads the stream from its beginning; %s"
        self.alarm(1, text, self._group, HELP)

    def acknowledged(self, ids: Sequence[str]) -> None:
        """Note what is stored on our side."""
        self.mark = max([self.mark, *ids], key=_order)

    def trouble(self) -> None:
        """Note that the server was away: it is looked at as soon as it is back."""
        self._looked = float("-inf")

    def look(self, client: Any) -> None:
        """Look what is missing, if it is time to."""
        if time.monotonic() - self._looked < LOOK:
            return
        try:
            stream = client.xinfo_stream(self._stream)
            if self.mark and self._is_back(client, stream):
                self._say_back(_text(stream["last-generated-id"]))
            groups = client.xinfo_groups(self._stream)
            for group in [group for group in groups if _text(group["name"]) == self._group]:
                self._count(client, stream, group)
        except Exception as error:
            if not is_an_answer(error):
                raise
            log.debug("%s cannot be looked at: %s", self._stream, error)  # not there yet, or not for us to see
        self._looked = time.monotonic()

    def alarm(self, lost: int, text: str, *facts: object) -> None:
        """Count what is lost, and say so."""
        self.lost += lost
        log.error(text, self._stream, *facts, extra={"cqrs_queue": self._group, "cqrs_feed": self._stream})

    def _is_back(self, client: Any, stream: Any) -> bool:
        """Tell whether the server has forgotten an entry that it gave us."""
        if _order(stream["last-generated-id"]) < _order(self.mark):
            return True
        first = stream["first-entry"]
        if first is None or _order(first[0]) > _order(self.mark):
            return False  # it may have been purged
        if _order(stream.get("max-deleted-entry-id", f"{MOST}-0")) >= _order(self.mark):
            return False  # somebody may have deleted just this one
        return not client.xrange(self._stream, self.mark, self.mark)

    def _say_back(self, last: str) -> None:
        text = (
            "%s: the server is as it was before: %s has stored %s, which is not there, and the last one is %s; what"
            " came after that state was saved is gone; %s"
        )
        self.alarm(1, text, self._group, self.mark, last, HELP)
        self.mark = ""

    def _count(self, client: Any, stream: Any, group: Any) -> None:
        """Count what was trimmed away, or deleted, before it was read."""
        added, read = stream.get("entries-added"), group.get("entries-read")
        if added is None or read is None:
            return
        place, first = _order(group["last-delivered-id"]), stream["first-entry"]
        if first is None or place < _order(first[0]):
            passed = added - stream["length"]
        elif place >= _order(stream["last-generated-id"]):
            passed = added
        else:
            return
        read = max(read, self._passed)
        if passed > read:
            self._passed = passed
            text = "%s: %d entries were deleted before %s had read them: somebody trims the stream; %s"
            self.alarm(passed - read, text, passed - read, self._group, HELP)
            # So that nobody counts them again.
            client.xgroup_setid(self._stream, self._group, group["last-delivered-id"], entries_read=passed)


def _order(entry_id: Any) -> tuple[int, int]:
    """Return an id as what it is compared by."""
    milliseconds, _, number = _text(entry_id).partition("-")
    return int(milliseconds or 0), int(number or 0)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
