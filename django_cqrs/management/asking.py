"""Which dead letters and blocked keys an operator means: the filters of ``cqrs_dead``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from simplecqrs.letters import Wanted

__all__ = ["FILTERS", "add_filters", "wanted_of"]

FILTERS = ("box", "queue", "cause", "topic", "key", "name", "since")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add_filters(parser: CommandParser) -> None:
    """Declare the filters."""
    group = parser.add_argument_group("filters, which must all fit")
    group.add_argument("--box", choices=["outbox", "inbox"])
    group.add_argument("--queue", help="the broker's name in the outbox, the consumer's in the inbox")
    group.add_argument("--cause", help="how the cause begins, as list prints it")
    group.add_argument("--topic")
    group.add_argument("--key", help="the order key; '' for messages without one")
    group.add_argument("--name", help="of the message, as it is on the wire")
    group.add_argument(
        "--since", help="dead or blocked then or later: 2026-11-21, 2026-11-21T03:00, or an age: 90m, 2h, 3d"
    )


def wanted_of(options: Mapping[str, Any]) -> Wanted:
    """Return what the filters say."""
    given = {name: options[name] for name in FILTERS if options.get(name) is not None}
    if "since" in given:
        given["since"] = _moment(given["since"])
    return Wanted(**given)


def _moment(said: str) -> datetime:
    ago = re.fullmatch(r"(\d+)([smhd])", said)
    if ago:
        return timezone.now() - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        raise CommandError(f"--since {said!r} is neither a time like 2026-11-21T03:00 nor an age like 2h") from None
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
