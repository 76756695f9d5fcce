"""Sagas in the project's databases: what every storage of sagas does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models import F

from django_cqrs import DjangoMediator
from django_cqrs.models import Saga, SagaMail, SagaWait
from django_cqrs.sagas import DjangoSagas
from simplecqrs import Registry
from tests.contracts.sagas import SagaContract
from tests.contracts.sagas_harness import SAGA, SagaHarness, end_waiting

pytestmark = pytest.mark.usefixtures("committed")


class TestDjangoSagas(SagaContract):
    """All that a storage of sagas does."""

    races = 10
    delicate = 20

    @pytest.fixture
    def sagas(self) -> DjangoSagas:
        """Return an empty storage."""
        return DjangoSagas(DjangoMediator(Registry()))

    @pytest.fixture
    def pass_time(self) -> Callable[[float], None]:
        """Return what makes all times so many seconds earlier."""

        def move(seconds: float) -> None:
            earlier = timedelta(seconds=seconds)
            Saga.objects.update(due_at=F("due_at") - earlier)
            SagaWait.objects.update(ends=F("ends") - earlier)
            SagaMail.objects.update(at=F("at") - earlier)

        return move

    def transaction(self) -> AbstractContextManager[Any]:
        """Open one as a step has it."""
        return transaction.atomic()

    def close(self) -> None:
        """Close a thread's connections."""
        connections.close_all()


class TestTwoAtOnce(SagaHarness):
    """What two connections do to one saga at the same moment."""

    parallel = connection.features.has_select_for_update

    @pytest.mark.needs("parallel")
    def test_an_event_does_not_deadlock_with_who_stores_that_its_time_is_over(self) -> None:
        """Both lock the saga before what it waits for."""
        sagas = DjangoSagas(DjangoMediator(Registry()))
        waiting, locking = self.waiting(sagas), threading.Event()

        def tell(execute: Any, sql: str, *rest: Any) -> Any:
            if f"{Saga._meta.db_table} " in sql:
                locking.set()
            return execute(sql, *rest)

        def hand_in() -> list[Any]:
            with connections["default"].execute_wrapper(tell), transaction.atomic():
                found = list(sagas.hand_in(f"{SAGA}:paid", "1", b"event"))
            connections.close_all()
            return found

        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            record = sagas.load(waiting.id, lock=True)
            assert record is not None
            handing = pool.submit(hand_in)
            assert locking.wait(20)
            end_waiting(record)
            sagas.save(record, lease=None)

            assert not handing.done()
        assert handing.result(20) == []


del SagaContract  # or it is collected as well
