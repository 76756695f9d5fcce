"""What holds on PostgreSQL only: by which index lanes are searched, what is kept by day, and how large that is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.db import connection, transaction

from django_cqrs import partitions
from django_cqrs.databases import dialect
from django_cqrs.databases.sizes import sizes
from django_cqrs.history import remember
from django_cqrs.models import History, Outbox
from django_cqrs.partitions import drop_before, make_ahead, rest_of
from django_cqrs.purging import HISTORY, purge
from django_cqrs.queue import DjangoStorage
from tests.contracts.queue import make

ONLY, EMPTY = 3, 4


@pytest.mark.needs("postgresql")
@pytest.mark.django_db
class TestPlans:
    """How the planner reads lanes."""

    postgresql = connection.vendor == "postgresql"

    def test_an_empty_lane_is_searched_by_the_index_of_lanes_though_few_lanes_have_all_rows(self) -> None:
        """Going by the primary key until a row of the lane comes would go through all rows of the others."""
        storage, speech = DjangoStorage("outbox", "default"), dialect("default")
        with transaction.atomic():
            storage.append([("shop", ONLY, make("x", key="x"))] * 3000)

        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {storage.hot}")
            cursor.execute(
                f"EXPLAIN SELECT (SELECT o.id FROM {speech.of_lane(storage.hot, storage.hot_index, 'c.lane')}"
                f" AND o.queue = 'shop' AND o.id > 0 {speech.order} LIMIT 1)"
                f" FROM (SELECT {ONLY} AS lane UNION ALL SELECT {EMPTY}) c"
            )
            plan = "\n".join(line for (line,) in cursor.fetchall())

        assert f"using {storage.hot_index}" in plan


@pytest.mark.needs("postgresql")
@pytest.mark.usefixtures("committed")
class TestDays:
    """How the history is kept by day."""

    postgresql = connection.vendor == "postgresql"

    def test_days_are_made_ahead_and_dropped_as_a_whole(self) -> None:
        """What is in no day is in the rest, so that nothing ever fails."""
        table, tomorrow = History._meta.db_table, datetime.now(timezone.utc) + timedelta(days=1)
        make_ahead("default", table)
        make_ahead("default", table)
        with transaction.atomic():
            DjangoStorage("outbox", "default").append([("shop", ONLY, make("x", key="x"))] * 3)
        remember("default", Outbox._meta.db_table, list(Outbox.objects.values_list("pk", flat=True)))

        History.objects.filter(row=History.objects.order_by("row")[0].row).update(shipped_at=tomorrow)
        in_rest = count(rest_of(table))
        early = drop_before("default", table, tomorrow)
        late = drop_before("default", table, tomorrow + timedelta(days=9))

        assert (in_rest, early, late) == (2, 0, 1)
        assert History.objects.count() == 2

    def test_a_day_that_a_dump_reads_is_dropped_by_a_later_purge(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody waits for it for long, and each purge goes on with what is in no day."""
        monkeypatch.setattr(partitions, "PATIENCE", "50ms")
        table, now = History._meta.db_table, datetime.now(timezone.utc)
        make_ahead("default", table)
        with transaction.atomic():
            DjangoStorage("outbox", "default").append([("shop", ONLY, make("x", key="x"))] * 3)
        remember("default", Outbox._meta.db_table, list(Outbox.objects.values_list("pk", flat=True)))
        first, second, _ = History.objects.order_by("row").values_list("row", flat=True)
        History.objects.filter(row=first).update(shipped_at=now + timedelta(days=1))
        History.objects.filter(row=second).update(shipped_at=now + timedelta(days=12))

        other = connection.copy()
        with other.cursor() as dump:
            dump.execute(f"BEGIN; SELECT FROM {table}")
            busy = drop_before("default", table, now + timedelta(days=9))
        other.close()
        again = drop_before("default", table, now + timedelta(days=9))
        monkeypatch.setattr(partitions, "_busy_until", {})  # as it is a minute later
        forgotten = purge("default", of=HISTORY, days=-9, seconds=60)

        assert (busy, again, forgotten) == (0, 0, (2, True))
        assert "cannot be dropped now" in caplog.text
        assert list(History.objects.values_list("row", flat=True)) == [second]

    def test_a_day_whose_rows_are_in_the_rest_is_not_needed(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is said, and nothing else happens."""
        tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
        with transaction.atomic():
            DjangoStorage("outbox", "default").append([("shop", ONLY, make("x", key="x"))])
        remember("default", Outbox._meta.db_table, list(Outbox.objects.values_list("pk", flat=True)))
        History.objects.update(shipped_at=tomorrow)

        make_ahead("default", History._meta.db_table)

        assert "no partition for" in caplog.text
        assert History.objects.count() == 1


def count(table: str) -> int:
    """Count the rows of a table."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {table}")
        return int(cursor.fetchone()[0])


@pytest.mark.needs("postgresql")
@pytest.mark.django_db
class TestSizes:
    """What the server says of its tables."""

    postgresql = connection.vendor == "postgresql"

    def test_what_lies_in_partitions_counts_for_their_table(self) -> None:
        """The table itself has nothing."""
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE parted (id bigint) PARTITION BY RANGE (id)")
            cursor.execute("CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100000)")
            cursor.execute("INSERT INTO parted SELECT generate_series(1, 1000)")

        assert sizes("default", ["parted"])["parted"] >= 32768
