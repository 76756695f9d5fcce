"""Errors of the commands: one line for people instead of a traceback."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.db import Error

from django_cqrs.loops import lacks_tables
from django_cqrs.processes import LOST
from simplecqrs.errors import CQRSError

__all__ = ["end_with", "explaining", "missing_of"]


@contextmanager
def explaining() -> Generator[None, None, None]:
    """Turn our own errors, and tables that are not there yet, into what a command says."""
    try:
        yield
    except CQRSError as error:
        raise CommandError(str(error)) from error
    except Error as error:
        if lacks_tables(error):
            said = str(error).splitlines()[0]
            raise CommandError(f"the tables are not there yet; run `manage.py migrate` ({said})") from error
        raise


def missing_of(jobs: Iterable[Any]) -> int:
    """Count what is known to be gone at brokers before these jobs had read it."""
    return sum(getattr(job, "missing", 0) for job in jobs)


def end_with(lost: int) -> None:
    """Let a command that did what it was asked to do end with ``LOST``, if messages are lost."""
    if lost:
        raise CommandError("messages were lost at a broker before they were read; see the log", returncode=LOST)
