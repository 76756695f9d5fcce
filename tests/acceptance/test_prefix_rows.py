"""Row 55: the prefix of all names, and two projects in one database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import pytest
from attrs import frozen
from django.apps import apps
from django.db import connection, connections, transaction

from django_cqrs.databases import dialect
from django_cqrs.inbox import door
from django_cqrs.models import Outbox
from django_cqrs.promotion import PLACE
from django_cqrs.queue import DjangoStorage
from django_cqrs.wakeup import channel_prefix
from simplecqrs import Command, NotificationEvent
from simplecqrs.queue import DATABASE, LANES
from tests.desk.project import BUS, Project
from tests.settings import RUN

pytestmark = pytest.mark.usefixtures("committed")

ALL = range(LANES)


@frozen
class Sold(NotificationEvent, topic="sales", key="who"):
    """For everybody."""

    who: str


@frozen
class Sell(Command[None]):
    """Somebody's order."""


# 55: two prefixes in one database

#: What the project with another prefix does.
OTHER = """
import django, json
django.setup()
from datetime import timedelta
from django.db import connection
from django_cqrs.inbox import door
from django_cqrs.models import Outbox
from django_cqrs.promotion import promoters
from django_cqrs.wakeup import channel_prefix
from simplecqrs.timing import Timed
from tests.acceptance.test_prefix_rows import Sell, Sold, names, tables
from tests.desk.project import Project

needed = [model for model in tables() if not model.__name__.startswith(("Saga", "Size", "History", "Action", "Tally"))]
with connection.schema_editor() as editor:
    for model in needed:
        editor.create_model(model)
try:
    project = Project()
    project.consume(Sold, consumer="one")
    project.registry.add(Sell, lambda command: project.seen.append("sell"))
    project.publish(Sold("shop"), Timed(Sold("shop later"), due=timedelta(0)))
    project.bus.defer(Sell(), idempotency_key="k")
    with door("default").fetching("one", "sales") as feed:
        pass
    project.ship()
    project.work()
    moved = sum(promoter.step() for promoter in promoters(["default"]))
    print(json.dumps({
        "feed": feed, "seen": sorted(project.seen), "moved": moved, "left": Outbox.objects.count(),
        "names": names(needed), "channel": channel_prefix(),
    }))
finally:
    with connection.schema_editor() as editor:
        for model in needed:
            editor.delete_model(model)
"""


def tables() -> list[Any]:
    """Return the models that have tables of ours."""
    return [model for model in apps.get_app_config("django_cqrs").get_models() if not model._meta.proxy]


def names(models: list[Any]) -> list[str]:
    """Return the names of our tables, and of their indexes and constraints, but for those that a database gives."""
    given = ("primary", "__primary", "sqlite_autoindex", "__unnamed")
    found = []
    for model in models:
        table = model._meta.db_table
        with connection.cursor() as cursor:
            constraints = connection.introspection.get_constraints(cursor, table)
        columns = {field.column for field in model._meta.local_fields}  # by which MariaDB names what is unique
        found += [table, *(name for name in constraints if not name.lower().startswith(given) and name not in columns)]
    return found


@contextmanager
def in_threads(*opens: Callable[[], AbstractContextManager[Any]]) -> Generator[list[Any], None, None]:
    """Keep contexts open, each in a thread and a transaction of its own, and give what they gave."""
    leave = threading.Event()

    def keep(open_: Callable[[], AbstractContextManager[Any]], entered: threading.Event, got: list[Any]) -> None:
        try:
            with open_() as given:
                got.append(given)
                entered.set()
                leave.wait(60)
        finally:
            entered.set()
            connections.close_all()

    with ThreadPoolExecutor(len(opens)) as pool, ExitStack() as stack:
        stack.callback(leave.set)
        got: list[list[Any]] = [[] for _ in opens]
        for number, open_ in enumerate(opens):
            entered = threading.Event()
            pool.submit(keep, open_, entered, got[number])
            assert entered.wait(20)
        yield [given for each in got for given in each]


def test_row_55_two_prefixes_in_one_database_do_not_disturb_each_other(project: Project) -> None:
    """The other project does all its work while this one holds its locks, and neither finds the other's rows."""

    @contextmanager
    def deferred() -> Generator[bool, None, None]:
        with transaction.atomic():
            project.bus.defer(Sell(), idempotency_key="k")
            yield True

    project.consume(Sold, consumer="one")
    project.registry.add(Sell, lambda command: None)
    project.publish(Sold("ours"))
    locks: list[Any] = [
        lambda: DjangoStorage("outbox", "default").hold(DATABASE, lanes=ALL, limit=LANES, local=False, idle=60),
        lambda: door("default").fetching("one", "sales"),
    ]
    if connection.features.has_select_for_update:  # else whoever writes keeps all others out
        locks += [lambda: dialect("default").fetching(PLACE), deferred]

    with in_threads(*locks) as got:
        found = other_project()

    assert len(got) == len(locks)
    assert all(got)
    assert (found["seen"], found["feed"], found["moved"], found["left"]) == (["one shop", "sell"], True, 1, 1)
    assert [name for name in found["names"] if not name.startswith("shop_")] == []
    assert (found["channel"], channel_prefix()) == ("shop_wakeup_", "cqrs_wakeup_")
    assert Outbox.objects.count() == 1
    assert project.seen == []


def other_project() -> dict[str, Any]:
    """Run a project with another prefix on the same database."""
    setting = {"TABLE_PREFIX": "shop_", "MEDIATOR": BUS, "DATABASES": {}}
    environment = {**os.environ, "CQRS_TEST_RUN": RUN, "CQRS_TEST_SETTING": json.dumps(setting)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OTHER], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_row_55_the_longest_prefix_leaves_room_for_all_names() -> None:
    """Django allows an index 30 characters; PostgreSQL would cut a name of more than 63."""
    longest = 12
    own = [
        (model._meta.db_table, [*model._meta.indexes, *model._meta.constraints])
        for model in tables()
    ]  # fmt: skip
    suffixes = [name.name.removeprefix("cqrs_") for _, rules in own for name in rules]

    assert [name for name in suffixes if len(name) + longest > 30] == []
    assert all(name.startswith("cqrs_") for name, _ in own)
    assert all(rule.name.startswith("cqrs_") for _, rules in own for rule in rules)
