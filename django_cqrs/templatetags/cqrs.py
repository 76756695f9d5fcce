"""How numbers, times and texts are written on our pages of the admin."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.timezone import is_aware, localtime

from django_cqrs.management.letters import count_of
from django_cqrs.storage import written_bytes

__all__ = ["ago", "as_bytes", "counted", "cut", "exactly", "hours", "moment"]

register = template.Library()

#: Characters of a name or a key.
LONGEST = 60
#: Seconds of what is said in larger units, the largest first.
UNITS = ((86400 * 365 * 2, 86400 * 365, "y"), (86400 * 2, 86400, "d"), (3600 * 2, 3600, "h"), (120, 60, "min"))


@register.filter
def counted(number: int | str | None) -> str:
    """Write a number whose count may have stopped; what is not there is none."""
    return count_of(int(number or 0))


@register.filter
def exactly(number: int | str | None) -> str:
    """Write a number that was counted to its end."""
    return f"{int(number or 0):,}"


@register.filter
def ago(seconds: float | str | None) -> str:
    """Write how long something takes or has waited."""
    if seconds is None or isinstance(seconds, str):  # a variable of a template that leads nowhere is a text
        return "-"
    for least, unit, name in UNITS:
        if abs(seconds) >= least:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:,.1f} s" if abs(seconds) < 10 else f"{seconds:,.0f} s"


@register.filter(name="bytes")
def as_bytes(number: float | None) -> str:
    """Write a number of bytes."""
    return "-" if number is None else written_bytes(number)


@register.filter
def hours(number: float) -> str:
    """Write so many hours, in days if there are many."""
    return ago(number * 3600)


@register.filter
def cut(text: str, longest: int = LONGEST) -> str:
    """Cut what is too long for a cell."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


@register.filter
def moment(when: datetime | None) -> str:
    """Write a time of Django's current time zone, to the second."""
    if when is None:
        return "-"
    return f"{localtime(when) if is_aware(when) else when:%Y-%m-%d %H:%M:%S}"
