"""The size of databases as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django_cqrs.storage import TableStatus, written_bytes

__all__ = ["storage_lines"]

#: Tables that are named, the largest.
LARGEST = 3


def storage_lines(storage: Sequence[TableStatus]) -> Iterator[str]:
    """Write a line for each database: how large it is, how fast it grows, when it is full, and of what."""
    for whole in [table for table in storage if not table.table]:
        ours = [table for table in storage if table.database == whole.database and table.table][:LARGEST]
        most = ", ".join(f"{table.table} {written_bytes(table.bytes)}" for table in ours)
        grows = "" if whole.growth is None else f", {written_bytes(whole.growth)} more each hour"
        full = "" if whole.hours is None else f", full in {whole.hours:,.0f} h"
        line = f"storage {whole.database}: {written_bytes(whole.bytes)}{grows}{full}"
        yield f"{line}; {most}" if most else line
