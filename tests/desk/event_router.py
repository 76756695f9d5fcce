"""Debezium's outbox event router, as in its EventRouterDelegate.java, for a configuration of docs/cdc.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

__all__ = ["Record", "configurations", "publication", "route", "routed_columns"]

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "cdc.md"
ROUTER = "transforms.outbox."


@frozen
class Record:
    """A message as librdkafka gives it: key, value and headers in bytes."""

    name: str
    own_key: bytes | None
    body: bytes
    own_headers: tuple[tuple[str, bytes | None], ...]

    def key(self) -> bytes | None:
        """Return the key."""
        return self.own_key

    def value(self) -> bytes:
        """Return the value."""
        return self.body

    def headers(self) -> list[tuple[str, bytes | None]]:
        """Return the headers."""
        return list(self.own_headers)


def configurations() -> dict[str, dict[str, str]]:
    """Return the configurations of the page by database; that of MariaDB is the other one with changes."""
    blocks = re.findall(r"^```properties\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    postgresql, changes = ({k: v for k, _, v in (line.partition("=") for line in b.splitlines())} for b in blocks)
    return {"postgresql": postgresql, "mysql": {**postgresql, **changes}}


def publication() -> str:
    """Return the statement of the page that makes the publication."""
    [found] = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return str(found)


def routed_columns(config: Mapping[str, str]) -> dict[str, str]:
    """Return every column that a configuration names, with what becomes of it."""
    fields = {key.removeprefix(ROUTER): value for key, value in config.items() if key.startswith(ROUTER)}
    found = {value: name for name, value in fields.items() if name.startswith("table.field.event.")}
    found[fields["route.by.field"]] = "route.by.field"
    for placed in fields["table.fields.additional.placement"].split(","):
        column, where, alias = placed.split(":")
        found[column] = f"{found[column]} {where} {alias}" if column in found else f"{where} {alias}"
    return found


def route(row: Mapping[str, Any], config: Mapping[str, str]) -> Record:
    """
    Make of an inserted row what the router makes of it, with the converters of the configuration.

    Args:
        row: texts, as change events have them: times in ISO 8601 and UTC, UUIDs with hyphens; bytes for the payload.
    """
    fields = {key.removeprefix(ROUTER): value for key, value in config.items() if key.startswith(ROUTER)}
    headers = [("id", _header(row[fields["table.field.event.id"]]))]
    for placed in fields["table.fields.additional.placement"].split(","):
        column, _, alias = placed.split(":")
        headers.append((alias, _header(row[column])))
    literal = {key.rpartition(".")[2]: value for key, value in config.items() if key.startswith("transforms.specver")}
    headers.append((literal["header"], literal["literal"].encode()))
    return Record(
        name=fields["route.topic.replacement"].replace("${routedByValue}", row[fields["route.by.field"]]),
        own_key=row[fields["table.field.event.key"]].encode(),
        body=bytes(row[fields["table.field.event.payload"]]),
        own_headers=tuple(headers),
    )


def _header(value: Any) -> bytes | None:
    """Write a value as Kafka Connect's StringConverter does."""
    return None if value is None else str(value).encode()
