"""The setting ``TRACING``: spans of OpenTelemetry from the request to what it causes elsewhere."""

from __future__ import annotations

from functools import cache

from django_cqrs.conf import settings
from simplecqrs.errors import MissingExtra
from simplecqrs.middlewares.spans import MessageSpans

__all__ = ["message_spans"]


def message_spans() -> MessageSpans | None:
    """Return what opens spans of messages on their way; None: TRACING is off.  Raises MissingExtra."""
    return _spans() if settings().tracing else None


@cache
def _spans() -> MessageSpans:
    try:
        return MessageSpans()
    except MissingExtra as error:
        raise MissingExtra("DJANGO_CQRS: TRACING", error.extra) from error
