"""What was done, and by how many statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["effects", "statements_of"]


def effects() -> int:
    """Return how many effects the accounts show, all together, and how many messages had none there."""
    from django.db.models import Sum

    from benchmarks.handlers import LET
    from benchmarks.models import Account

    return (Account.objects.aggregate(sum=Sum("n"))["sum"] or 0) + len(LET)


def statements_of(call: Callable[[], object]) -> int:
    """Return how many statements a call makes; BEGIN and COMMIT are none."""
    from django.db import connection

    count = 0

    def note(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*arguments)

    with connection.execute_wrapper(note):
        call()
    return count
