"""Ids below which a lane needs no looking: never above a row that may still appear."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction

from django_cqrs.queue import DjangoStorage
from django_cqrs.safe_ids import Progress, SafeIds
from tests.contracts.queue import make, texts

LANE, QUEUE = 3, "shop"
MiB = 1024 * 1024

pytestmark = pytest.mark.usefixtures("committed")


class Shop:
    """An outbox whose clock moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.storage = DjangoStorage("outbox", "default")
        self.storage.look(QUEUE, [LANE])  # from now on it knows its connection
        self.safe = SafeIds("default", self.storage.place(QUEUE), lambda: self.now)
        self.storage._safe[QUEUE] = self.safe

    def append(self, *texts_: str) -> None:
        with transaction.atomic():
            self.storage.append([(QUEUE, LANE, make(text, key=text[0])) for text in texts_])

    def ship(self, only: str | None = None) -> list[str]:
        """Delete what is there, or only one of it, and return what was read."""
        if not self.storage.look(QUEUE, [LANE]):
            return []
        with self.storage.hold(QUEUE, lanes=[LANE], limit=1, local=True, idle=60) as held:
            assert held is not None
            rows = held.read(100, MiB)
            held.done([row for row in rows if only in (None, *texts([row]))])
        return texts(rows)

    def settle(self) -> int:
        """Let seconds go by, with some work now and then, and return the safe id of the lane."""
        for _ in range(4):
            self.now += 6
            self.append("z")
            self.ship("z")
        return self.safe._safe.get(LANE, 0)

    @contextmanager
    def somebody_appending(self, text: str) -> Generator[None, None, None]:
        """Keep a transaction open in another thread that has appended a row; it is committed at the end."""
        appended, commit = threading.Event(), threading.Event()

        def work() -> None:
            with transaction.atomic():
                self.storage.append([(QUEUE, LANE, make(text, key=text[0]))])
                appended.set()
                assert commit.wait(20)
            connections.close_all()

        thread = threading.Thread(target=work)
        thread.start()
        assert appended.wait(20)
        try:
            yield
        finally:
            commit.set()
            thread.join()


IS_SQLITE = connection.vendor == "sqlite"


def test_what_is_worked_off_is_not_looked_through_again() -> None:
    """The safe id follows; SQLite, where what is deleted is gone, needs none."""
    shop = Shop()
    shop.append("a1", "b1")
    last = shop.storage.look(QUEUE, [LANE])[0].head
    shop.ship()

    safe = shop.settle()

    assert safe == 0 if IS_SQLITE else safe >= last
    shop.append("a2")
    assert shop.ship() == ["a2"]


def test_a_safe_id_never_passes_a_row_that_somebody_is_still_writing() -> None:
    """Its id was given before those that were read: a naive floor would put its key out of order."""
    shop = Shop()
    if IS_SQLITE:
        assert shop.settle() == 0  # there is one writer, so that nobody else is ever in between
        return
    with shop.somebody_appending("a1"):
        safe = shop.settle()
    shop.append("a2")

    row = shop.storage.look(QUEUE, [LANE])[0].head
    assert safe < row
    assert shop.ship() == ["a1", "a2"]


def test_a_row_that_appeared_since_its_lane_was_read_is_not_passed() -> None:
    """It was written while later ones were read and shipped, and is there when the safe id is asked for."""
    shop = Shop()
    if IS_SQLITE:
        assert shop.settle() == 0
        return
    with shop.somebody_appending("a1"):
        shop.append("b1")
        assert shop.ship() == ["b1"]
    shop.append("a2")

    shop.now += 2

    assert shop.ship() == ["a1", "a2"]


def test_a_safe_id_does_not_pass_a_row_that_stays() -> None:
    """What the broker did not acknowledge is there at the next look."""
    shop = Shop()
    shop.append("a1", "a2", "b1")
    shop.ship(only="b1")

    shop.settle()

    assert shop.ship()[:2] == ["a1", "a2"]


def test_a_row_below_a_wrong_safe_id_is_found_by_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    """As after a database was restored: in the end every lane is looked through from its beginning."""
    shop = Shop()
    shop.append("a1")
    shop.safe._safe[LANE] = 10**15
    assert shop.ship() == []

    shop.now += 11

    assert shop.ship() == ["a1"]
    assert "rows came below safe ids" in caplog.text
    assert shop.safe.of([LANE]) == {LANE: 0}


def test_on_another_connection_nothing_is_known() -> None:
    """Behind it may be a promoted replica, which gives ids once more that were given, and worked off, before."""
    shop = Shop()
    shop.append("a1")
    shop.safe._safe[LANE] = 10**15

    connection.close()

    assert shop.ship() == ["a1"]


def test_the_database_is_asked_after_work_only() -> None:
    """An idle relay costs one statement a look."""
    shop = Shop()
    shop.append("a1")
    shop.ship()
    shop.now += 2
    shop.storage.look(QUEUE, [LANE])
    shop.now += 2

    counted: list[str] = []

    def count(execute, sql, *rest):  # type: ignore[no-untyped-def]
        counted.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(count):
        for _ in range(3):
            shop.now += 2
            shop.storage.look(QUEUE, [LANE])

    assert len(counted) == 3


def test_progress_ends_at_the_first_row_that_is_still_there() -> None:
    """In each lane by itself."""
    progress = Progress()
    for lane, row in ((1, 10), (2, 11), (1, 12), (1, 14), (2, 15)):
        progress.read(lane, row)

    progress.gone([10, 14, 11, 15])

    assert progress.ends() == {1: 10, 2: 15}
