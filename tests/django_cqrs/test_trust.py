"""What comes from a broker is data: who may command, who is said to have asked, and what a later release has sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest
from attrs import evolve, frozen

from django_cqrs.brokers import broker
from django_cqrs.models import Blocked, Dead, Inbox, Outbox, ParkedInbox
from simplecqrs import Command, NotificationEvent, Publish, Query, Retry, context, current
from simplecqrs.envelope import Envelope
from simplecqrs.memory import MemoryBroker
from simplecqrs.metadata import active_context, new_metadata
from tests.desk.models import AuditEntry, Note
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Walk(Command[int], topic="moves", key="who"):
    """Somebody is to go somewhere else."""

    who: str
    step: int = 0


@frozen
class AuditWalk(Command[None], name="desk.AuditWalk", topic="moves"):
    """Would run on the other alias."""

    who: str


@frozen
class Where(Query[str], topic="moves"):
    """Asks."""

    who: str


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """Somebody is somewhere else."""

    who: str
    step: int = 0


class Strangers:
    """A project that is told by others, through a broker, what to do."""

    def __init__(self, project: Project, memory: MemoryBroker) -> None:
        self.project, self.memory = project, memory
        self.done: list[str] = []
        self.work: Any = lambda command, publish: None
        project.registry.add(Walk, self._walk)
        project.consume(Moved, consumer="walk")

    def _walk(self, command: Walk, publish: Publish) -> int:
        self.done.append(f"{command.who}{command.step}")
        Note.objects.create(text=self.done[-1])
        self.work(command, publish)
        return command.step

    def envelope(self, message: Any, **changes: Any) -> Envelope:
        """Return what another system would send."""
        made = self.project.bus.vocabulary.envelope(message, new_metadata(None, None))
        return evolve(made, source="elsewhere", topic="moves", **changes)

    def tell(self, *messages: Any, **changes: Any) -> None:
        """Send messages, and let the consumer work."""
        self.memory.publish([self.envelope(m, **changes) for m in messages], deadline=1)
        self.project.work("walk")


@pytest.fixture
def strangers(project: Project, settings: Any, request: pytest.FixtureRequest) -> Strangers:
    """Return a project whose consumer takes commands, unless a test says that it does not."""
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"moves": {"BACKEND": "simplecqrs.memory.MemoryBroker"}},
        "CONSUMERS": {
            "walk": {
                "broker": "moves", "topics": ["moves"], "retry": Retry(2, first=0),
                "allow_commands": getattr(request, "param", True),
            }
        },
    }  # fmt: skip
    return Strangers(project, cast(MemoryBroker, broker("moves")))


takes_events_only = pytest.mark.parametrize("strangers", [False], indirect=True, ids=["events only"])


# Commands


def test_a_consumer_that_may_takes_commands_in_the_order_of_their_keys_and_answers_nothing(
    strangers: Strangers,
) -> None:
    """Each once, with the events of the same topic."""
    told = [Walk(who, step) for step in range(5) for who in ("ada", "bob")]

    strangers.tell(*told, Moved("ada", 9))
    strangers.memory.publish(strangers.memory.published, deadline=1)  # the broker gives all of it once more
    strangers.project.work("walk")

    for who in ("ada", "bob"):
        assert [done for done in strangers.done if done[:3] == who] == [f"{who}{step}" for step in range(5)]
    assert strangers.project.seen == ["walk ada9"]
    assert (Note.objects.count(), Inbox.objects.count(), Outbox.objects.count(), Dead.objects.count()) == (10, 0, 0, 0)


def test_a_command_from_a_broker_that_fails_is_tried_again_and_then_a_dead_letter(strangers: Strangers) -> None:
    """Its effect is rolled back, and what follows under its key waits."""

    def fail(command: Walk, publish: Publish) -> None:
        publish(Moved(command.who))
        raise ValueError("no legs")

    strangers.work = fail

    strangers.tell(Walk("ada", 1), Walk("ada", 2))

    assert strangers.done == ["ada1", "ada1"]
    assert [letter.reason for letter in strangers.project.letters()] == ["ValueError: no legs"]
    assert (Note.objects.count(), Outbox.objects.count(), ParkedInbox.objects.count()) == (0, 0, 1)


def test_a_command_from_a_broker_is_handled_where_its_inbox_is(strangers: Strangers) -> None:
    """Its effect and the end of its row are one transaction; a write to another alias is refused, as ever."""
    strangers.project.registry.add(AuditWalk, lambda command: AuditEntry.objects.create(text=command.who))

    strangers.tell(AuditWalk("ada"))

    [letter] = strangers.project.letters()
    assert letter.reason.startswith("WroteElsewhere: AuditWalk runs in a transaction on 'default'")
    assert AuditEntry.objects.count() == 0


def test_a_command_that_a_handler_sends_runs_where_it_belongs(strangers: Strangers) -> None:
    """As from anywhere else."""
    strangers.project.registry.add(AuditWalk, lambda command: AuditEntry.objects.create(text=command.who))
    strangers.work = lambda command, publish: strangers.project.bus.send(AuditWalk(command.who))

    strangers.tell(Walk("ada"))

    assert [entry.text for entry in AuditEntry.objects.all()] == ["ada"]
    assert strangers.project.letters() == []


@takes_events_only
@pytest.mark.parametrize("kind", ["command", "event"])
def test_a_consumer_of_events_makes_a_dead_letter_of_a_command(strangers: Strangers, kind: str) -> None:
    """Whatever it is said to be; it says why, keeps the bytes, and events of its key go on."""
    strangers.tell(Walk("ada"), kind=kind)
    strangers.tell(Moved("ada"))

    [letter] = strangers.project.letters()
    assert letter.reason == (
        f"CommandRefused: {letter.name} is a command, and walk takes events only; whoever can write to its broker "
        "could give commands: if that is meant, say allow_commands"
    )
    assert (letter.attempts, letter.payload) == (1, b'{"who":"ada","step":0}')
    assert (strangers.done, strangers.project.seen) == ([], ["walk ada0"])


def test_only_names_that_have_handlers_are_taken(strangers: Strangers) -> None:
    """Neither unknown ones nor queries, and never a class that is not a message: nothing is looked up by import."""
    strangers.project.registry.add(Where, lambda query: strangers.done.append("asked"))

    strangers.tell(Where("ada"))
    strangers.tell(Moved("ada"), name="django.contrib.auth.models.User")
    strangers.tell(Moved("ada"), name="os.system")

    assert (strangers.done, strangers.project.seen) == ([], [])
    assert (Inbox.objects.count(), Dead.objects.count(), Blocked.objects.count()) == (0, 0, 0)


# Claims


def test_who_is_said_to_have_asked_is_a_claim(strangers: Strangers) -> None:
    """Handlers see it, and see that it was received; so do those of what it causes, over any number of inboxes."""
    claims = {"user": "1", "tenant": "acme"}
    seen: list[tuple[str, dict[str, str], bool]] = []

    def look(what: str) -> None:
        metadata = current()
        seen.append((what, dict(metadata.headers), metadata.received))

    def inner(command: AuditWalk, publish: Publish) -> None:
        look("inner")
        publish(Moved("bob"))

    def walk(command: Walk, publish: Publish) -> None:
        look("outer")
        strangers.project.bus.send(AuditWalk("ada"))

    strangers.project.registry.add(AuditWalk, inner)
    strangers.project.consume(Moved, consumer="home", work=lambda event, publish: look("event"))
    strangers.work = walk

    strangers.tell(Walk("ada"), headers=claims)
    strangers.project.ship()
    strangers.project.work("home")

    assert seen == [("outer", claims, True), ("inner", claims, True), ("event", claims, True)]


def test_a_claim_is_nobodys_context(strangers: Strangers) -> None:
    """What the process does next is its own doing, and what it has set itself is not replaced."""
    seen: list[tuple[dict[str, str], bool]] = []

    def walk(command: Walk, publish: Publish) -> None:
        assert active_context() is not None
        assert dict(active_context().headers) == {"user": "worker"}  # type: ignore[union-attr]
        with context(user="checked"):
            strangers.project.bus.send(AuditWalk("ada"))

    def look(command: AuditWalk) -> None:
        seen.append((dict(current().headers), current().received))

    strangers.project.registry.add(AuditWalk, look)
    strangers.work = walk

    with context(user="worker"):
        strangers.tell(Walk("ada"), headers={"user": "1", "tenant": "acme"})
        strangers.project.bus.send(AuditWalk("own"))

    assert seen == [({"user": "checked", "tenant": "acme"}, True), ({"user": "worker"}, False)]


# A later release


def test_a_newer_version_waits_until_its_release_is_there(strangers: Strangers) -> None:
    """It is no dead letter, however many attempts the consumer has; its key waits, others go on."""
    strangers.tell(Moved("ada", 1), version=2)
    strangers.tell(Moved("ada", 2), Moved("bob", 1))
    for _ in range(5):
        Blocked.objects.update(next_at=Blocked.objects.get().next_at - timedelta(hours=1))
        strangers.project.work("walk")
    assert (strangers.project.seen, Dead.objects.count(), ParkedInbox.objects.count()) == (["walk bob1"], 0, 2)
    assert Blocked.objects.get().error.startswith("NewerVersion: ")

    ParkedInbox.objects.update(version=1)  # as a release would read it whose version is 2
    Blocked.objects.update(next_at=Blocked.objects.get().next_at - timedelta(hours=1))
    strangers.project.work("walk")

    assert strangers.project.seen == ["walk bob1", "walk ada1", "walk ada2"]
