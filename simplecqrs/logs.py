"""A filter by which every log line tells of the message that is being handled where it is written."""

from __future__ import annotations

import logging

from simplecqrs.log_context import current_fields

__all__ = ["CorrelationFilter", "current_fields"]

#: The fields that every record has, so that formats may name them.
ALWAYS = ("cqrs_message", "cqrs_id", "cqrs_correlation_id")


class CorrelationFilter(logging.Filter):
    """
    Give records of all loggers the fields of the message that is being handled in their thread.

    It belongs on handlers: a filter of a logger does not see the records of the loggers below it.  Fields that a
    record has already stay as they are.  Outside of a message ``cqrs_message``, ``cqrs_id`` and
    ``cqrs_correlation_id`` are empty, unless ``context(correlation_id=...)`` has set one.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        known = vars(record)
        for name, value in {**dict.fromkeys(ALWAYS, ""), **current_fields()}.items():
            known.setdefault(name, value)
        return True
