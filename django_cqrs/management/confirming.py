"""What a command asks before it does what cannot be undone."""

from __future__ import annotations

import sys

from django.core.management.base import CommandError

__all__ = ["confirm"]


def confirm(what: str, *, yes: bool) -> None:
    """
    Ask a person at a terminal whether something is to be done; nobody is asked if ``yes`` says it already.

    Raises:
        CommandError: if it is not, or if there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{what}: say --yes, for nobody is here to be asked")
    if input(f"{what}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CommandError("nothing is done")
