"""Errors of the commands: one line for people instead of a traceback."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import Error

from django_cqrs.loops import lacks_tables
from simplecqrs.errors import CQRSError

__all__ = ["explaining"]


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
