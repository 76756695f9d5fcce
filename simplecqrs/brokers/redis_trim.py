"""Trimming a Redis stream: the script that finds how far all its groups are, and deletes what is before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Final

from simplecqrs.errors import NotConfigured
from simplecqrs.transport import Trimmed

__all__ = ["trim"]

#: In one step, so that no group is made, or set back, in between.  A group holds its first pending entry; if it has
#: none, the last one that it was given.  Whole nodes are deleted first, as many as ARGV[2] entries; the rest, less than
#: a node, when that is all.  ARGV: milliseconds to keep, limit, "1" to count only, then the groups that must be there.
TRIM: Final = """
local function before(a, b)
  local am, an = a:match('^(%d+)-(%d+)$')
  local bm, bn = b:match('^(%d+)-(%d+)$')
  if am ~= bm then return tonumber(am) < tonumber(bm) end
  if #an ~= #bn then return #an < #bn end
  return an < bn
end
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 1, '', ''} end
local now = redis.call('TIME')
local first = string.format('%.0f-0', math.max(now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[1], 0))
local holder, known, missing = '', {}, {'missing'}
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local facts = {}
  for n = 1, #group, 2 do facts[group[n]] = group[n + 1] end
  local held = facts['last-delivered-id']
  if facts['pending'] > 0 then held = redis.call('XPENDING', KEYS[1], facts['name'], '-', '+', 1)[1][1] end
  if before(held, first) then first, holder = held, facts['name'] end
  known[facts['name']] = true
end
for n = 4, #ARGV do
  if not known[ARGV[n]] then missing[#missing + 1] = ARGV[n] end
end
if #missing > 1 then return missing end
if first == '0-0' then return {0, 1, '', holder} end
if ARGV[3] == '1' then
  return {#redis.call('XRANGE', KEYS[1], '-', '(' .. first, 'COUNT', ARGV[2]), 1, first, holder}
end
local deleted, whole = redis.call('XTRIM', KEYS[1], 'MINID', '~', first, 'LIMIT', ARGV[2]), 0
if deleted == 0 then deleted, whole = redis.call('XTRIM', KEYS[1], 'MINID', '=', first), 1 end
return {deleted, whole, first, holder}
"""


def trim(client: Any, stream: str, groups: Sequence[str], *, keep: float, limit: int, dry_run: bool) -> Trimmed:
    """
    Do it by a client of redis-py.

    Raises:
        NotConfigured: if one of the groups is not there.
    """
    reply = client.eval(TRIM, 1, stream, int(keep * 1000), limit, "1" if dry_run else "0", *groups)
    if reply[0] == b"missing":
        names = ", ".join(name.decode() for name in reply[1:])
        raise NotConfigured(
            f"{stream}: nothing is trimmed, for the server knows no group {names}, which is declared to read it: what "
            "is there now, it is to read from the beginning.  Start its consumer once (cqrs_consume --once), or take "
            "it out of CONSUMERS and run `manage.py migrate`"
        )
    entries, whole, first, holder = reply
    return Trimmed(int(entries), bool(whole), _time(first.decode()), holder.decode())


def _time(entry: str) -> datetime | None:
    return datetime.fromtimestamp(int(entry.partition("-")[0]) / 1000, timezone.utc) if entry else None
