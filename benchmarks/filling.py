"""Tables with many events in them, made inside of the database."""

from __future__ import annotations

from django.db import connections

from benchmarks.by_hand import COLUMNS

__all__ = ["KEYS", "append", "empty", "fill", "schedule"]

#: How many order keys the events have unless one says otherwise; together they lie in all 16 lanes.
KEYS = 1600
#: One event with a payload of about 180 bytes, made of a number n.
ROWS = {
    "postgresql": """
        SELECT 'streams', n %% %(keys)s %% 16, 'Changed', 'order-' || n %% %(keys)s, gen_random_uuid(), 'event',
            'Changed', 1, 'bench', now(), gen_random_uuid()::text, gen_random_uuid()::text, '{}', NULL,
            'application/json',
            convert_to('{"account":' || n || ',"text":"' || repeat('x', 150) || '"}', 'UTF8')
        FROM generate_series(1, %(last)s) n
        """,
    "mysql": """
        SELECT 'streams', seq %% %(keys)s %% 16, 'Changed', CONCAT('order-', seq %% %(keys)s), UUID(), 'event',
            'Changed', 1, 'bench', UTC_TIMESTAMP(6), UUID(), UUID(), '{}', NULL, 'application/json',
            CONCAT('{"account":', seq, ',"text":"', REPEAT('x', 150), '"}')
        FROM seq_1_to_{last}
        """,
    "sqlite": """
        WITH RECURSIVE numbers(n) AS (
            SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %(last)s
        )
        SELECT 'streams', n %% %(keys)s %% 16, 'Changed', 'order-' || (n %% %(keys)s), lower(hex(randomblob(16))),
            'event', 'Changed', 1, 'bench', STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f000', 'NOW'), lower(hex(randomblob(18))),
            lower(hex(randomblob(18))), '{}', NULL, 'application/json',
            CAST('{"account":' || n || ',"text":"' || PRINTF('%%.150c', 'x') || '"}' AS BLOB)
        FROM numbers
        """,
}


def fill(table: str, number: int, *, alias: str = "default", keys: int = KEYS) -> None:
    """Put so many events into a table that is emptied before."""
    empty(table, alias=alias)
    append(table, number, alias=alias, keys=keys)
    if connections[alias].vendor == "postgresql":
        with connections[alias].cursor() as cursor:
            cursor.execute(f"ANALYZE {table}")


def empty(table: str, *, alias: str = "default") -> None:
    """Delete all rows; ids go on, as relays have to rely on."""
    with connections[alias].cursor() as cursor:
        # On MariaDB, TRUNCATE lets ids begin anew.
        cursor.execute(f"TRUNCATE {table}" if connections[alias].vendor == "postgresql" else f"DELETE FROM {table}")


def append(table: str, number: int, *, alias: str = "default", keys: int = KEYS) -> None:
    """Add so many events, numbered from 1."""
    if not number:
        return
    rows = ROWS[connections[alias].vendor].replace("{last}", str(number))
    with connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({COLUMNS}) {rows}", {"last": number, "keys": keys})


def schedule(table: str, number: int) -> None:
    """Add so many events to the schedule on PostgreSQL, due from tomorrow on."""
    rows = ROWS["postgresql"].replace(
        "SELECT", "SELECT 'outbox', now() + interval '1 day' + interval '1 second' * n,", 1
    )
    with connections["default"].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} (box, due, {COLUMNS}) {rows}", {"last": number, "keys": KEYS})
