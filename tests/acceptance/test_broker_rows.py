"""The acceptance rows of brokers in general: 43 and 90; and weaknesses B16 and B36, shown absent."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from attrs import evolve, frozen
from django.db import DatabaseError, connection

from django_cqrs.brokers import DatabaseBroker, broker, broker_names
from django_cqrs.conf import settings as ours
from django_cqrs.consumers import consumers
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Dead, Inbox, Outbox
from simplecqrs import Command, Mediator, NotificationEvent, Publish, Registry, Retry
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotPublished
from simplecqrs.memory import MemoryBroker
from simplecqrs.metadata import new_metadata
from simplecqrs.transport import ACCEPTED, Garbage, Receipt
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """Somebody is somewhere else."""

    who: str
    step: int = 0


@frozen
class Walk(Command[None]):
    """Somebody is to go somewhere else."""

    who: str


class Counting:
    """Takes everything, and keeps nothing."""

    taken = 0

    def publish(self, envelopes: Sequence[Envelope], /, *, deadline: float) -> Sequence[Receipt]:
        """Count."""
        self.taken += len(envelopes)
        return [ACCEPTED] * len(envelopes)


@pytest.fixture
def memory(project: Project, settings: Any) -> MemoryBroker:
    """Let moves go through a broker in memory, as a project says it in a test's settings."""
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"moves": {"BACKEND": "simplecqrs.memory.MemoryBroker"}},
        "ROUTES": {"moves": "moves"},
        "CONSUMERS": {"walk": {"broker": "moves", "retry": Retry(2, first=0)}},
    }
    return cast(MemoryBroker, broker("moves"))


# 43: a broker that records is asked for by name


def test_row_43_it_records_what_a_test_wants_to_see_and_no_other_does() -> None:
    """Each has a list of its own, which ends with it."""
    first, second = MemoryBroker(), MemoryBroker()

    Mediator(Registry(), publisher=first).publish(Moved("ada", 1))

    assert [(e.name, e.topic, e.key) for e in first.published] == [("Moved", "moves", "ada")]
    assert second.published == []


def test_row_43_it_is_nobodys_default() -> None:
    """Without a publisher, an event that should go out is an error of whoever publishes it; Django stores it."""
    with pytest.raises(NotPublished, match="publisher"):
        Mediator(Registry()).publish(Moved("ada"))

    assert broker_names() == ["database"]
    assert isinstance(broker("database"), DatabaseBroker)
    assert ours().brokers_for("moves") == ("database",)


def test_row_43_a_project_takes_it_for_its_tests(memory: MemoryBroker, project: Project) -> None:
    """By the settings; what is published has gone through the outbox."""
    project.publish(Moved("ada", 1), Moved("ada", 2))
    stored = Outbox.objects.count()
    project.ship()

    assert stored == 2
    assert [e.payload for e in memory.published] == [b'{"who":"ada","step":1}', b'{"who":"ada","step":2}']


# B16: the default loses nothing, and nothing is kept that nobody asked for


def test_b16_what_went_out_is_kept_nowhere_in_the_process() -> None:
    """No list grows, neither of messages nor of envelopes."""
    publisher = Counting()
    mediator = Mediator(Registry(), publisher=publisher)

    for step in range(1000):
        mediator.publish(Moved("ada", step))
    gc.collect()

    assert publisher.taken == 1000
    assert not [kept for kept in gc.get_objects() if type(kept) is Moved]
    assert not [kept for kept in gc.get_objects() if type(kept) is Envelope and kept.name == "Moved"]


# B36: the consumer's side is ours


def test_b36_the_application_writes_a_handler_and_nothing_else(memory: MemoryBroker, project: Project) -> None:
    """Garbage becomes a dead letter with its bytes, a repeated message is dropped, and all is acknowledged."""
    project.consume(Moved, consumer="walk")
    project.publish(Moved("ada", 1))
    project.ship()
    memory.litter("moves", Garbage("no JSON", b"\xff{", {"from": "a stranger"}))
    memory.publish(memory.published, deadline=1)
    project.publish(Moved("ada", 2))
    project.ship()

    project.work("walk")

    assert project.seen == ["walk ada1", "walk ada2"]
    letter = Dead.objects.get()
    assert (letter.queue, letter.reason, bytes(letter.payload)) == ("walk", "no JSON", b"\xff{")
    assert waiting(memory) == 0


def test_b36_a_failing_message_is_tried_again_then_put_aside_and_replayed(
    memory: MemoryBroker, project: Project
) -> None:
    """Its followers wait, others do not; the cause is on record, and an operator lets it go."""
    broken = [True]

    def work(event: Moved, publish: Publish) -> None:
        if event.who == "bob" and broken:
            raise ConnectionError("no way")

    project.consume(Moved, consumer="walk", work=work)
    project.publish(Moved("bob", 1), Moved("bob", 2), Moved("ada", 1))
    project.ship()
    project.work("walk")
    letter = project.letters()[0]
    seen, project.seen = project.seen, []

    broken.clear()
    DjangoInspection("default").retry(letter.id)
    project.work("walk")

    assert sorted(seen) == ["walk ada1", "walk bob1", "walk bob1"]
    assert (letter.attempts, letter.reason) == (2, "ConnectionError: no way")
    assert project.seen == ["walk bob1", "walk bob2"]
    assert not Inbox.objects.exists()


def test_b36_nothing_is_acknowledged_before_it_is_stored(memory: MemoryBroker, project: Project) -> None:
    """If the database fails in between, the broker gives it once more."""
    project.consume(Moved, consumer="walk")
    project.publish(Moved("ada", 1))
    project.ship()
    fetcher, worker = consumers("walk")

    with connection.execute_wrapper(failing), pytest.raises(DatabaseError, match="no room"):
        fetcher.step()
    waited = waiting(memory)
    fetcher.step()
    acknowledged = waiting(memory) == 0
    worker.step()

    assert (waited, acknowledged, project.seen) == (1, True, ["walk ada1"])


# 90: whichever broker it is, commands that come from outside are not obeyed


def test_row_90_a_command_that_comes_from_a_broker_is_not_obeyed(memory: MemoryBroker, project: Project) -> None:
    """Whoever can write to a broker could give it: this process has a handler, the consumer takes none."""
    obeyed: list[Walk] = []
    project.registry.add(Walk, obeyed.append)
    project.consume(Moved, consumer="walk")
    command = project.bus.vocabulary.envelope(Walk("ada"), new_metadata(None, None))
    memory.publish([evolve(command, topic="moves")], deadline=1)
    project.publish(Moved("ada", 1))
    project.ship()

    project.work("walk")

    assert (obeyed, project.seen, Inbox.objects.count()) == ([], ["walk ada1"], 0)


def waiting(memory: MemoryBroker) -> int:
    """Count what the broker would give the consumer."""
    (feed,) = memory.feeds("walk", ["moves"])
    return len(feed.fetch(100))


def failing(execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
    """Let nothing into an inbox."""
    if sql.startswith("INSERT INTO") and Inbox._meta.db_table in sql:
        raise DatabaseError("no room")
    return execute(sql, *arguments)
