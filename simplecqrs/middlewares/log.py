"""A log line when a message's handler starts, and one when it ends or fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from simplecqrs.ambient import current
from simplecqrs.dispatch import stack
from simplecqrs.log_context import about_message
from simplecqrs.messages import Message
from simplecqrs.middlewares.masking import Hidden, hiding, shown_fields
from simplecqrs.pipeline import Middleware, around

__all__ = ["MASK", "logged"]

#: Fields whose values are never shown, unless told otherwise.
MASK = ("*password*", "*secret*", "*token*")

Note = Callable[..., None]


def logged(
    logger: logging.Logger | None = None,
    *,
    start: int = logging.DEBUG,
    end: int = logging.INFO,
    failure: int = logging.WARNING,
    fields: bool = False,
    mask: Sequence[str] | Hidden = MASK,
) -> Middleware:
    """
    Make a middleware that logs when a handler starts, and when it ends or fails, and after how many seconds.

    A failure is told by the type of its error.  Its text and its traceback are left to whoever catches it: they
    would be there twice, and may hold what is secret.  Of a stream the duration includes its reader's.

    Records bear ``cqrs_message``, ``cqrs_id``, ``cqrs_correlation_id`` and, if there is one, ``cqrs_causation_id``;
    the last line ``cqrs_seconds`` and ``cqrs_error`` as well.

    Args:
        logger: takes the lines.  Default: ``simplecqrs``.
        start: the level of the first line.
        end: the level of the last line, where all went well.
        failure: the level of the last line, where the handler raised.
        fields: show the message's fields, as ``cqrs_fields`` as well, without those that are marked ``repr=False``.
        mask: names of fields that are not shown either, at any depth; ``*`` stands for any characters.  Or a function
            that tells of a name whether it is hidden.
    """
    log = logger or logging.getLogger("simplecqrs")
    hidden = mask if callable(mask) else hiding((mask,) if isinstance(mask, str) else mask)

    @contextmanager
    def logging_of(message: Message) -> Generator[None, None, None]:
        note = _noting(log, message, (lambda: shown_fields(message, hidden)) if fields else None)
        note(start, "%s%s started")
        started = perf_counter()
        try:
            yield
        except GeneratorExit:  # the reader of a stream has had enough of it
            note(end, "%s%s ended after %.3f s", seconds=perf_counter() - started)
            raise
        except BaseException as error:
            kind = type(error).__qualname__
            note(failure, "%s%s failed after %.3f s: %s", seconds=perf_counter() - started, error=kind)
            raise
        note(end, "%s%s ended after %.3f s", seconds=perf_counter() - started)

    return around(logging_of)


def _known(message: Message) -> dict[str, Any]:
    """Return the fields of a message, its metadata made if it is not yet."""
    if stack.frames:
        current()
    return about_message(message)


def _noting(log: logging.Logger, message: Message, fields: Callable[[], dict[str, str]] | None) -> Note:
    """Return what logs a line about a message, its fields and its metadata looked up where it is really logged."""
    name = type(message).__qualname__

    def note(level: int, text: str, **facts: Any) -> None:
        if not log.isEnabledFor(level):
            return
        extra = {f"cqrs_{key}": value for key, value in facts.items()}
        about = ""
        if fields is not None:
            extra["cqrs_fields"] = shown = fields()
            about = f"({', '.join(f'{key}={value}' for key, value in shown.items())})"
        log.log(level, text, name, about, *facts.values(), extra={**_known(message), **extra})

    return note
