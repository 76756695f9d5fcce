"""Retries of requests in Django, where transactions decide what can be repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen
from django.db import OperationalError, connection, transaction
from django.test import TestCase

from django_cqrs import DjangoMediator
from django_cqrs.locks import lane_transaction
from django_cqrs.middlewares import retrying
from simplecqrs import Command, NotificationEvent, Publish, Registry
from tests.desk.models import AuditEntry, Note

committing = pytest.mark.usefixtures("committed")

#: What MIDDLEWARES of the setting names.
quick = retrying(3, first=0, cap=0, jitter=0)
choosy = retrying(3, first=0, cap=0, jitter=0, unless=lambda message: isinstance(message, Do))
QUICK, CHOOSY = f"{__name__}.quick", f"{__name__}.choosy"


@frozen
class Do(Command[int]):
    """A command."""


@frozen
class DoAudit(Command[int], name="desk.AuditDo"):
    """A command on the other alias."""


@frozen
class Happened(NotificationEvent):
    """For everybody."""


class Handler:
    """Writes a note and publishes, then fails so many times as a victim of a deadlock does."""

    def __init__(self, times: int, write: Callable[[str], object], error: type[Exception] = OperationalError) -> None:
        self.calls = 0
        self._times = times
        self._write = write
        self._error = error

    def __call__(self, command: Command[int], publish: Publish) -> int:
        self.calls += 1
        self._write(f"attempt {self.calls}")
        publish(Happened())
        if self.calls <= self._times:
            raise self._error("deadlock detected")
        return self.calls


def note(text: str) -> None:
    """Write on the default alias."""
    Note.objects.create(text=text)


def notes() -> list[str]:
    """Return what was written there."""
    return list(Note.objects.order_by("id").values_list("text", flat=True))


@pytest.fixture
def bus_of(settings: Any) -> Callable[..., DjangoMediator]:
    """Make a mediator with a handler and the middleware."""

    def make(handler: Any, kind: type[Command[int]] = Do, middleware: str = QUICK) -> DjangoMediator:
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "MIDDLEWARES": [middleware]}
        registry = Registry()
        registry.add(kind, handler)
        return DjangoMediator(registry)

    return make


@committing
def test_a_command_is_repeated_in_a_transaction_of_its_own(bus_of: Callable[..., DjangoMediator]) -> None:
    """What the victim has written and published is rolled back; what the last attempt did is committed."""
    from django_cqrs.models import Outbox

    answer = bus_of(Handler(2, note)).send(Do())

    assert answer == 3
    assert notes() == ["attempt 3"]
    assert Outbox.objects.count() == 1
    assert not connection.in_atomic_block


@committing
def test_the_last_error_is_raised_and_nothing_is_left(bus_of: Callable[..., DjangoMediator]) -> None:
    """As if it had not been sent."""
    handler = Handler(9, note)

    with pytest.raises(OperationalError, match="deadlock detected"):
        bus_of(handler).send(Do())

    assert handler.calls == 3
    assert notes() == []


@committing
def test_other_errors_are_not_repeated(bus_of: Callable[..., DjangoMediator]) -> None:
    """Unless told otherwise, only what the database says of itself is."""
    handler = Handler(9, note, ValueError)

    with pytest.raises(ValueError, match="deadlock"):
        bus_of(handler).send(Do())

    assert handler.calls == 1


@committing
def test_inside_of_somebodys_transaction_nothing_is_repeated(bus_of: Callable[..., DjangoMediator]) -> None:
    """ATOMIC_REQUESTS, for example: the database has rolled all of it back, or may."""
    handler = Handler(1, note)
    bus = bus_of(handler)

    with pytest.raises(OperationalError), transaction.atomic():
        bus.send(Do())

    assert handler.calls == 1
    assert notes() == []


@committing
def test_a_consumer_does_its_own_retries(bus_of: Callable[..., DjangoMediator]) -> None:
    """In its lane's transaction, whatever the alias of the command."""
    handler = Handler(1, lambda text: AuditEntry.objects.create(text=text))
    bus = bus_of(handler, DoAudit)

    with pytest.raises(OperationalError), lane_transaction("default"):
        bus.send(DoAudit())

    assert handler.calls == 1


@committing
def test_a_transaction_on_another_alias_does_not_matter(bus_of: Callable[..., DjangoMediator]) -> None:
    """The command commits on its own alias."""
    handler = Handler(1, lambda text: AuditEntry.objects.create(text=text))
    bus = bus_of(handler, DoAudit)

    with transaction.atomic():
        assert bus.send(DoAudit()) == 2

    assert list(AuditEntry.objects.values_list("text", flat=True)) == ["attempt 2"]


@committing
def test_messages_may_be_excepted(bus_of: Callable[..., DjangoMediator]) -> None:
    """By a function of one's own."""
    handler = Handler(1, note)

    with pytest.raises(OperationalError):
        bus_of(handler, middleware=CHOOSY).send(Do())

    assert handler.calls == 1


@committing
def test_where_django_does_not_commit_nothing_is_repeated(
    bus_of: Callable[..., DjangoMediator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without autocommit a transaction is always open."""
    handler = Handler(1, lambda text: None)
    monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)

    with pytest.raises(OperationalError):
        bus_of(handler).send(Do())

    assert handler.calls == 1


class TestInATestCase(TestCase):
    """Django's TestCase keeps a transaction open that nobody commits: it does not count."""

    def test_a_command_is_repeated_in_a_savepoint(self) -> None:
        """As it is in a transaction elsewhere."""
        from django.conf import settings as django_settings

        registry = Registry()
        registry.add(Do, Handler(1, note))
        with self.settings(DJANGO_CQRS={**django_settings.DJANGO_CQRS, "MIDDLEWARES": [QUICK]}):
            answer = DjangoMediator(registry).send(Do())

        assert answer == 2
        assert notes() == ["attempt 2"]
