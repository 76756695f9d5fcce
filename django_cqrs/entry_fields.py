"""What entries of settings may be: fields of settings classes, with what converts and refuses values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from attrs import field
from attrs.validators import instance_of

from django_cqrs.ages import age_of
from simplecqrs.errors import NotConfigured
from simplecqrs.registration import check_on_error

__all__ = [
    "DAEMON",
    "age",
    "bytes_of_aliases",
    "is_engine",
    "is_on_error",
    "list_of_names",
    "mapping",
    "names_or_path",
    "number",
    "object_of",
    "text",
]

#: The engine that looks for work by itself, and those that are rung for and have names.
DAEMON, RUNG = "daemon", ("celery", "django-tasks")


def list_of_names(value: Any) -> tuple[str, ...]:
    """Make a tuple of a list of names; one string is no list of its letters."""
    if isinstance(value, str) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"it is a list of strings, not {value!r}")
    return tuple(value)


def names_or_path(value: Any) -> tuple[str, ...] | str | None:
    """Take a dotted path as it is, and make a tuple of a list of names."""
    return value if value is None or isinstance(value, str) else list_of_names(value)


def mapping(**metadata: object) -> Any:
    """Return a field that holds a dict."""
    return field(factory=dict, validator=_is_dict, metadata=metadata, repr=not metadata.get("secret"))


def _is_dict(_: Any, __: Any, value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError("it is a dict")  # without the value, which may hold a password


def object_of(kind: type, make: Callable[..., object] | None = None, **metadata: object) -> Any:
    """Return a field that makes an object of a dict; what is wrong is a ValueError, as for any other entry."""

    def converted(value: Any) -> Any:
        if value is None or isinstance(value, kind):
            return value
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise TypeError("it is a dict with names as keys")
        try:
            return (make or kind)(**value)
        except (NotConfigured, TypeError) as error:
            raise ValueError(error.args[0]) from None

    return field(default=None, converter=converted, metadata=metadata)


def text(default: str) -> Any:
    """Return a field that holds a text."""
    return field(default=default, validator=instance_of(str))


def number(kind: type | tuple[type, ...], default: float, *limits: Any) -> Any:
    """Return a field that holds a number."""
    of_kind: Any = instance_of(kind)
    return field(default=default, validator=[of_kind, *limits])


def age(value: Any) -> timedelta:
    """Make an age of a text such as ``48h``; None is none at all."""
    return value if isinstance(value, timedelta) else timedelta(0) if value is None else age_of(value)


def bytes_of_aliases(_: Any, __: Any, value: Any) -> None:
    """Refuse what is no dict of aliases and bytes."""
    if not isinstance(value, Mapping) or not all(isinstance(size, int) and size > 0 for size in value.values()):
        raise TypeError("it is a dict of aliases and bytes")


def is_engine(_: Any, __: Any, value: Any) -> None:
    """Refuse what is no engine."""
    if value not in (DAEMON, *RUNG) and not (isinstance(value, str) and "." in value):
        raise ValueError(
            f"an engine is one of {DAEMON}, {', '.join(RUNG)}, or the dotted path of a function that rings"
        )


def is_on_error(_: Any, __: Any, value: Any) -> None:
    """Check fates as they are for handlers; exceptions may be named by dotted paths, which are looked up later."""
    if not isinstance(value, Mapping):
        raise TypeError("it is a dict of exceptions and what becomes of the message")
    found: Mapping[Any, Any] = value
    for cls, fate in found.items():
        check_on_error(None, None, {Exception if isinstance(cls, str) else cls: fate})
