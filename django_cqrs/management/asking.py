"""Which dead letters and blocked keys an operator means: the filters of ``cqrs_dead``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_cqrs.ages import moment_of
from simplecqrs.letters import Wanted

__all__ = ["FILTERS", "add_filters", "said_moment", "wanted_of"]

FILTERS = ("box", "queue", "cause", "topic", "key", "name", "since")


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
        given["since"] = said_moment(given["since"], "--since")
    return Wanted(**given)


def said_moment(said: str, option: str) -> datetime:
    """Return the time that an option says, or the one that was so long ago.  Raises CommandError."""
    try:
        return moment_of(said, option)
    except ValueError as error:
        raise CommandError(str(error)) from None
