"""Tables with many events in them, made inside of the database."""

from __future__ import annotations

from django.db import connections

from benchmarks.by_hand import COLUMNS

__all__ = ["KEYS", "append", "empty", "fill"]

#: How many order keys the events have unless one says otherwise; together they lie in all 16 lanes.
KEYS = 1600
#: One event with a payload of about 180 bytes, made of a number n.
ROWS = {
    "postgresql": """
        SELECT 'streams', n %% %(keys)s %% 16, 'Changed', 'order-' || n %% %(keys)s, gen_random_uuid(), 'event',
            'Changed', 1, 'bench', now(), gen_random_uuid()::text, gen_random_uuid()::text, '{}', NULL,
            'application/json',
            convert_to('{"account":' || n || ',"text":"' || repeat('x', 150) || '"}', 'UTF8')
        FROM generate_series(%(first)s, %(last)s) n
        """,
    "mysql": """
        SELECT 'streams', seq %% %(keys)s %% 16, 'Changed', CONCAT('order-', seq %% %(keys)s), UUID(), 'event',
            'Changed', 1, 'bench', UTC_TIMESTAMP(6), UUID(), UUID(), '{}', NULL, 'application/json',
            CONCAT('{"account":', seq, ',"text":"', REPEAT('x', 150), '"}')
        FROM seq_{first}_to_{last}
        """,
    "sqlite": """
        WITH RECURSIVE numbers(n) AS (
            SELECT %(first)s UNION ALL SELECT n + 1 FROM numbers WHERE n < %(last)s
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


def append(table: str, number: int, *, alias: str = "default", keys: int = KEYS, first: int = 1) -> None:
    """Add so many events."""
    if not number:
        return
    last = first + number - 1
    rows = ROWS[connections[alias].vendor].replace("{first}", str(first)).replace("{last}", str(last))
    with connections[alias].cursor() as cursor:
        cursor.execute(f"INSERT INTO {table} ({COLUMNS}) {rows}", {"first": first, "last": last, "keys": keys})
