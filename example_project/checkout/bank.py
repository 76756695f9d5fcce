"""
A bank in a folder: outside of the database, so that nothing rolls it back.

It honours keys, as a step of a saga needs it: what is asked twice with one key is booked once, and what was undone is
refused from then on, also if it comes only now.
"""

import time
from decimal import Decimal
from pathlib import Path

from django.conf import settings

from simplecqrs.deadlines import remaining
from simplecqrs.errors import OutcomeUnknown

#: What a card is good for.
LIMIT = Decimal(30)


class CardRefused(Exception):
    """Raised when a card is not good for so much."""


def charge(key: str, amount: Decimal) -> None:
    """Book an amount, once for each key."""
    if amount > LIMIT:
        raise CardRefused(f"the card is good for {LIMIT}, not for {amount}")
    folder = _folder()
    if (folder / f"{key}.undone").exists():
        raise CardRefused(f"{key} was undone")
    try:
        with (folder / key).open("x") as entry:
            entry.write(str(amount))
    except FileExistsError:
        return
    _take_time(folder)


def undo(key: str) -> None:
    """Undo a booking; if there was none, see that it does not come any more."""
    folder = _folder()
    (folder / f"{key}.undone").touch()
    (folder / key).unlink(missing_ok=True)


def booked() -> list[str]:
    """Return the keys of what is booked."""
    return sorted(entry.name for entry in _folder().iterdir() if ":" in entry.name and entry.suffix != ".undone")


def _folder() -> Path:
    folder = Path(settings.BANK_FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _take_time(folder: Path) -> None:
    """Let an answer come late as long as there is a file of this name, so that somebody can look, or pull the plug."""
    while (folder / "slow").exists():
        seconds = remaining()
        if seconds is not None and seconds <= 0:
            raise OutcomeUnknown("the bank has not answered in time")
        time.sleep(0.05)
