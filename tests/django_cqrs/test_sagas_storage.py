"""Sagas in the project's databases: what every storage of sagas does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.models import F

from django_cqrs import DjangoMediator
from django_cqrs.models import Saga, SagaMail, SagaWait
from django_cqrs.sagas import DjangoSagas
from simplecqrs import Registry
from tests.contracts.sagas import SagaContract

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


del SagaContract  # or it is collected as well
