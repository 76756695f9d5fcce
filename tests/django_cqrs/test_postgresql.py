"""What holds on PostgreSQL only: by which index lanes are searched, whatever its statistics say."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from django_cqrs.databases import dialect
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
