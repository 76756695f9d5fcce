"""What goes to one Redis stream in one call, and the script that appends it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.redis_entries import write_entry
from simplecqrs.brokers.wire import compact
from simplecqrs.envelope import Envelope

__all__ = ["APPEND", "APPEND_SHA", "Batch"]

#: Append entries to a stream, a key only until its first error; answer with number and error of what was not appended.
#: The error of what was not tried is empty.  ARGV: the entries as JSON, each ``[key, name, value, name, value, ...]``,
#: or ``[key, error]`` for one that must not be tried; then the payloads.
APPEND: Final = """
local failures, stopped = {}, {}
for n, entry in ipairs(cjson.decode(ARGV[1])) do
  local key, failure = entry[1], false
  if stopped[key] then
    failure = ''
  elseif #entry == 2 then
    failure = entry[2]
  else
    local reply = redis.pcall('XADD', KEYS[1], '*', 'payload', ARGV[n + 1], unpack(entry, 2))
    failure = type(reply) == 'table' and reply.err
  end
  if failure then
    stopped[key] = key ~= ''
    failures[#failures + 1] = n
    failures[#failures + 1] = failure
  end
end
return failures
"""
APPEND_SHA: Final = hashlib.sha1(APPEND.encode(), usedforsecurity=False).hexdigest()


class Batch:
    """The envelopes of one call that go to one stream."""

    def __init__(self, wire: WireFormat | None = None) -> None:
        self._wire = wire
        self.payloads: list[bytes] = []
        self._indexes: list[int] = []
        self._entries: list[list[str]] = []

    def add(self, index: int, envelope: Envelope) -> None:
        """Add the envelope that stands at this index of the call."""
        self._indexes.append(index)
        try:
            fields, body = write_entry(envelope, self._wire)
        except ValueError as error:  # is refused with this reason, in its turn
            self._entries.append([envelope.key, f"it cannot be written: {error}"])
            self.payloads.append(b"")
        else:
            self._entries.append([envelope.key, *chain.from_iterable(fields.items())])
            self.payloads.append(body)

    def document(self) -> bytes:
        """Return the entries as the script reads them."""
        try:
            return compact(self._entries).encode()
        except UnicodeEncodeError:
            return compact([_encodable(entry) for entry in self._entries]).encode()

    def failures(self, reply: Sequence[Any] | Exception) -> Iterator[tuple[int, str]]:
        """Yield index and error of what was not appended, from the script's reply or the error in its place."""
        if isinstance(reply, Exception):
            yield from self._all(str(reply))
        else:
            for number, error in zip(reply[::2], reply[1::2], strict=True):
                yield self._indexes[number - 1], error.decode(errors="replace")

    def _all(self, error: str) -> Iterator[tuple[int, str]]:
        stopped: set[str] = set()
        for index, (key, *_) in zip(self._indexes, self._entries, strict=True):
            yield index, "" if key in stopped else error
            if key:
                stopped.add(key)


def _encodable(entry: list[str]) -> list[str]:
    """Put an error in the place of an entry that is no text, as it holds half of a surrogate pair."""
    try:
        "".join(entry).encode()
    except UnicodeEncodeError as error:
        return [entry[0].encode(errors="replace").decode(), str(error)]
    return entry
