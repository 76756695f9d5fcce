"""What does not fit, with the path of each: the errors that conversion raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

__all__ = ["Several", "WrongValue", "collect", "explain", "is_library_error", "library_errors"]


class WrongValue(TypeError, ValueError):
    """Raised for a value that makes no field; its text is meant for the sender."""


class Several(Exception):
    """Raised when parts of a value do not fit: the path of each, and what is wrong with it."""

    def __init__(self, errors: Sequence[tuple[str, Exception]]) -> None:
        super().__init__(errors)
        self.errors = errors


def collect(calls: Iterable[tuple[str, Callable[[], Any]]]) -> list[Any]:
    """Call them all, and raise what failed together."""
    found: list[Any] = []
    errors: list[tuple[str, Exception]] = []
    for path, call in calls:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001 - all of them are wanted
            errors.append((path, error))
    if errors:
        raise Several(errors)
    return found


def explain(error: Exception) -> list[tuple[str, str]]:
    """Return the path of every bad field, and what is wrong with it."""
    try:
        return [(path.removeprefix("."), reason) for path, reason in _reasons(error, "")]
    except RecursionError:
        return [("", "nested too deeply")]


def _reasons(error: Exception, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(error, Several):
        for step, nested in error.errors:
            yield from _reasons(nested, path + step)
    elif is_library_error(error):
        for step, nested in library_errors(error):
            yield path + step, str(nested)
    else:
        yield path, _reason(error)


def _reason(error: Exception) -> str:
    if isinstance(error, WrongValue):
        return str(error)
    if isinstance(error, (ValueError, TypeError)) and error.args:  # a validator, or somebody's own type
        return str(error.args[0])
    return f"not understood ({type(error).__name__})"


def is_library_error(error: Exception) -> bool:
    """Tell whether pydantic or msgspec raised an error that knows its paths; neither is imported for it."""
    kind = type(error)
    return kind.__name__ == "ValidationError" and kind.__module__.partition(".")[0] in ("pydantic_core", "msgspec")


def library_errors(error: Exception) -> list[tuple[str, WrongValue]]:
    """Return the paths within, and the reasons, that pydantic or msgspec tell."""
    if type(error).__module__.startswith("msgspec"):
        reason, _, path = str(error).partition(" - at `$")
        return [(path.rstrip("`"), WrongValue(reason))]
    told: Any = error
    return [(_path(e["loc"]), WrongValue(e["msg"])) for e in told.errors(include_url=False, include_context=False)]


def _path(steps: Iterable[int | str]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
