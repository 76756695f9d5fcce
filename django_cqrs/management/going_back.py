"""What ``cqrs_consume`` does with --rewind, --reset and --replay."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_cqrs.actions import system_user
from django_cqrs.audit import record
from django_cqrs.brokers import INBOXES
from django_cqrs.conf import settings
from django_cqrs.consumers import consumer_names
from django_cqrs.management.asking import said_moment
from django_cqrs.management.confirming import confirm
from django_cqrs.mediator import project_mediator
from django_cqrs.places import places_of
from django_cqrs.positions import settle
from django_cqrs.purging import horizon
from django_cqrs.rewinding import (
    MARK,
    Since,
    forget,
    refuse_while_working,
    refuse_with_waiting,
    refuse_without_a_way_back,
    rewind,
)
from simplecqrs.errors import NotConfigured

__all__ = ["add_arguments", "go_back"]

log = logging.getLogger("django_cqrs")


def add_arguments(parser: CommandParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("going back, for one consumer")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--rewind",
        metavar="TIME",
        help="read once more what came then or later (2026-11-21T03:00, 2h), or since its own mark (mark), and end",
    )
    where.add_argument(
        "--reset", action="store_true", help="forget what it has seen, go back to the beginning, and end: to rebuild"
    )
    group.add_argument(
        "--replay",
        action="store_true",
        help="consume, and let in what is older than SEEN_DAYS; with --rewind or --reset",
    )
    group.add_argument("--reason", default="", help="why; recorded")
    group.add_argument("--yes", action="store_true", help="do not ask")


def go_back(options: Mapping[str, Any], say: Callable[[str], object]) -> bool:
    """Do what these options say, and tell whether the command has something left to do."""
    back = [option for option in ("rewind", "reset", "replay") if options[option]]
    if not back:
        return True
    name, places = _name_of(options["names"], back), places_of([INBOXES], schemas=options["schema"])
    since = _since(options["rewind"])
    if options["replay"]:
        refuse_while_working(name, "--replay")
    if options["reset"]:
        refuse_while_working(name, "--reset")
        for place in places:
            with place.entered():
                refuse_with_waiting(name)
    if options["rewind"] or options["reset"]:
        refuse_without_a_way_back(name, since)
    confirm(_question(name, options), yes=options["yes"])
    for place in places:
        with place.entered():
            _prepare(name, options, say, "" if place.schema is None else f"{place}: ")
    if options["rewind"] or options["reset"]:
        rewind(name, since, say, places)
        settle(consumer=name)
        _warn_of_age(name, since, options, say)
    return bool(options["replay"])


def _since(said: str | None) -> Since:
    if not said:
        return None
    return MARK if said == MARK else said_moment(said, "--rewind")


def _prepare(name: str, options: Mapping[str, Any], say: Callable[[str], object], where: str) -> None:
    """Record what is done, and forget what is to be forgotten."""
    if options["reset"]:
        _record(name, "reset", f"all that {name} has seen is forgotten", options["reason"])
        say(f"{where}{name} has forgotten the ids of {forget(name):,} messages")
    elif options["rewind"]:
        _record(name, "rewind", f"back to {options['rewind']}", options["reason"])
    if options["replay"]:
        _record(name, "replay", "what is older than SEEN_DAYS is let in", options["reason"])


def _name_of(names: list[str], back: list[str]) -> str:
    if len(names) != 1:
        raise CommandError(f"--{back[0]} is for one consumer: cqrs_consume NAME --{back[0]}")
    known = consumer_names(project_mediator())
    if names[0] not in known:
        raise NotConfigured(f"there is no consumer {names[0]!r}; known are {', '.join(known) or 'none'}")
    return names[0]


def _question(name: str, options: Mapping[str, Any]) -> str:
    if options["reset"]:
        return f"let {name} forget all that it has seen, and handle everything again"
    if options["rewind"]:
        where = "its own mark" if options["rewind"] == MARK else options["rewind"]
        return f"let {name} read once more what came since {where}"
    return f"let {name} handle what it may have handled more than {settings().seen_days:g} days ago"


def _warn_of_age(name: str, since: Since, options: Mapping[str, Any], say: Callable[[str], object]) -> None:
    oldest = horizon()
    is_old = oldest is not None and since != MARK and (since is None or since < oldest)
    if is_old and not options["replay"] and not settings().consumer(name).replay:
        days = f"{settings().seen_days:g} days (SEEN_DAYS)"
        say(f"what is older than {days} becomes dead letters, unless it is consumed with --replay")


def _record(name: str, act: str, cause: str, reason: str) -> None:
    who = system_user()
    record(INBOXES, act, who=who, reason=reason, box="inbox", queue=name, number=0, cause=cause)
    log.warning("%s: %s of %s, %s: %s", who, act, name, cause, reason or "no reason given")
