"""Consumers: their subscriptions, lanes and policies, and what they do with messages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen
from django.core.management import call_command
from django.db import transaction
from django.db.models import F

from django_cqrs import bus
from django_cqrs.brokers import DatabaseBroker, broker
from django_cqrs.consumers import consumer_names, consumers, of_its_app, subscribe, topics_of
from django_cqrs.databases import now
from django_cqrs.errors import InsideTransaction
from django_cqrs.inbox import door, lanes_of
from django_cqrs.loops import run
from django_cqrs.models import Blocked, Inbox, Outbox, Seen, Subscription
from django_cqrs.relay import relays
from simplecqrs import Command, DomainEvent, NotificationEvent, Publish, Registry, Retry
from simplecqrs.errors import NotConfigured
from simplecqrs.queue import DEFERRED
from simplecqrs.registration import Registration
from tests.desk.messages import AuditWritten, OpenTicket, Remind
from tests.desk.models import AuditEntry, Note, Tally
from tests.desk.project import Project

committing = pytest.mark.usefixtures("committed")


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """For everybody."""

    who: str
    step: int = 0


@frozen
class Settled(DomainEvent):
    """For this project."""

    who: str


def configure(settings: Any, **more: Any) -> None:
    """Add to the setting DJANGO_CQRS."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, **more}


def fail(event: Any, publish: Publish) -> None:
    """Write, and fail."""
    Note.objects.create(text="lost")
    publish(Settled("ghost"))
    raise ValueError("no")


# names, topics, subscriptions


def test_consumers_are_those_that_handlers_name_and_that_of_deferred_commands() -> None:
    """And those of the settings."""
    assert consumer_names(bus) == ["tally", DEFERRED]


def test_a_consumer_wants_the_topics_of_the_events_that_it_handles(project: Project, settings: Any) -> None:
    """Each once; unless its settings say more, or less."""
    project.consume(Moved, Settled, consumer="walkers")
    project.consume(Moved, consumer="others")
    assert topics_of("walkers", project.bus) == ["moves", "Settled"]

    configure(settings, CONSUMERS={"walkers": {"topics": ["moves", "steps"]}})
    assert topics_of("walkers", project.bus) == ["moves", "steps"]


@committing
def test_subscriptions_are_written_after_migrate() -> None:
    """So that the relay knows what to do with events before a consumer was ever started."""
    Subscription.objects.all().delete()
    Subscription.objects.create(broker="database", consumer="forgotten", topic="x", lanes=16)

    call_command("migrate", verbosity=0)

    found = set(Subscription.objects.values_list("consumer", "broker", "topic", "lanes"))
    assert ("tally", "database", "tickets", 16) in found
    assert "forgotten" not in {consumer for consumer, *_ in found}
    assert DEFERRED not in {consumer for consumer, *_ in found}


@committing
def test_a_consumer_writes_its_subscriptions_when_it_starts(project: Project, settings: Any) -> None:
    """And drops those that it has no use for any more."""
    project.consume(Moved, consumer="walkers")
    Subscription.objects.create(broker="database", consumer="walkers", topic="old", lanes=16)

    consumers("walkers")
    assert list(Subscription.objects.filter(consumer="walkers").values_list("topic", flat=True)) == ["moves"]


@committing
def test_lanes_are_remembered_and_changed_only_while_the_inbox_is_empty(
    project: Project, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise rows would lie in lanes that nobody looks at."""
    project.consume(Moved, consumer="walkers")
    project.publish(Moved("ada"))
    project.ship()

    configure(settings, CONSUMERS={"walkers": {"lanes": 4}})
    with caplog.at_level(logging.WARNING):
        subscribe(["walkers"], project.bus)
    assert lanes_of("walkers", "default") == 16
    assert "walkers keeps its 16 lanes until its inbox is empty; 4 are asked for" in caplog.text

    project.work("walkers")
    subscribe(["walkers"], project.bus)
    assert lanes_of("walkers", "default") == 4
    project.publish(*(Moved(str(number)) for number in range(20)))
    project.ship()
    assert set(Inbox.objects.values_list("lane", flat=True)) <= {0, 1, 2, 3}


def test_an_unknown_consumer_is_told_with_those_that_are_known(project: Project) -> None:
    """As on the command line."""
    project.consume(Moved, consumer="walkers")

    with pytest.raises(NotConfigured, match="no consumer 'walker'; known are walkers"):
        consumers("walker")


def test_integration_events_of_an_app_belong_to_its_consumer(settings: Any) -> None:
    """If their handler says nothing else; commands, domain events and after-commit handlers are never touched."""
    configure(settings, CONSUMERS={"desk": {"apps": ["desk"]}})

    def registration(message: type[Any], **options: Any) -> Registration:
        registry = Registry()

        def handle(event: Any) -> None:
            """Do nothing."""

        handle.__module__ = "tests.desk.handlers"
        registry.add(message, handle, **options)
        return next(iter(registry))

    assert of_its_app(registration(Moved)).options.consumer == "desk"
    assert of_its_app(registration(Moved, consumer="mine")).options.consumer == "mine"
    assert of_its_app(registration(Moved, after_commit=True)).options.consumer is None
    assert of_its_app(registration(Settled)).options.consumer is None
    assert of_its_app(registration(OpenTicket)).options.consumer is None


@committing
def test_handlers_in_the_apps_of_a_consumer_run_there_and_not_in_the_command(project: Project, settings: Any) -> None:
    """The setting alone moves them."""
    seen: list[str] = []

    def handle(event: Moved) -> None:
        seen.append(event.who)

    handle.__module__ = "tests.desk.handlers"
    project.registry.add(Moved, handle)
    configure(settings, CONSUMERS={"desk": {"apps": ["tests.desk"]}})

    project.publish(Moved("ada"))
    assert seen == []
    project.ship()
    project.work("desk")
    assert seen == ["ada"]


# the way of a message


@committing
def test_each_consumer_gets_each_event_once(project: Project) -> None:
    """Its own row in the inbox; the outbox is empty afterwards."""
    project.consume(Moved, consumer="one")
    project.consume(Moved, consumer="two")
    project.publish(Moved("ada", 1), Moved("ada", 2))

    project.ship()
    assert Outbox.objects.count() == 0
    assert Inbox.objects.count() == 4
    project.work()

    assert sorted(project.seen) == ["one ada1", "one ada2", "two ada1", "two ada2"]
    assert Inbox.objects.count() == 0


@committing
def test_a_redelivered_event_is_dropped_at_the_door(project: Project) -> None:
    """Also when it was handled long ago."""
    project.consume(Moved, consumer="one")
    envelope = project.bus.vocabulary_of([Moved]).envelope(Moved("ada"), _metadata())
    for _ in range(3):
        consumers()
        DatabaseBroker().publish([envelope], deadline=1)
        project.work()

    assert project.seen == ["one ada0"]


@committing
def test_a_domain_event_reaches_a_consumer_through_the_database(project: Project) -> None:
    """It is this project's own business, so it never leaves it."""
    project.consume(Settled, consumer="one")
    project.publish(Settled("ada"))
    assert [row.queue for row in Outbox.objects.all()] == ["database"]

    project.ship()
    project.work()

    assert project.seen == ["one ada"]


@committing
def test_what_nobody_subscribed_to_is_deleted_and_counted(project: Project) -> None:
    """As unclaimed."""
    project.publish(Moved("ada"), Moved("bob"))
    [relay] = relays(databases=["default"])
    before = relay.asides["events that nobody subscribed to"]

    relay.step()

    assert Outbox.objects.count() == 0
    assert relay.asides["events that nobody subscribed to"] == before + 2


@committing
def test_a_handlers_events_and_writes_share_the_fate_of_its_row(project: Project) -> None:
    """Effect, follow-up events and the deletion are one transaction."""

    def work(event: Moved, publish: Publish) -> None:
        Note.objects.create(text=event.who)
        publish(Settled(event.who))

    project.consume(Moved, consumer="one", work=work)
    project.consume(Settled, consumer="two")
    project.publish(Moved("ada"))
    project.ship()
    project.work()
    project.ship()
    project.work()

    assert project.seen == ["one ada0", "two ada"]
    assert Note.objects.count() == 1


@committing
def test_a_run_of_messages_is_one_transaction_each(project: Project) -> None:
    """One that fails takes nothing of the others along."""

    def work(event: Moved, publish: Publish) -> None:
        Note.objects.create(text=f"{event.who}{event.step}")
        if event.step == 2:
            raise ValueError("not this one")

    project.consume(Moved, consumer="one", work=work, retry=Retry(5, first=3600))
    project.publish(*(Moved("ada" if step != 2 else "bob", step) for step in range(5)))
    project.ship()
    project.work()

    assert sorted(note.text for note in Note.objects.all()) == ["ada0", "ada1", "ada3", "ada4"]
    assert Blocked.objects.get().key == "bob"


@committing
def test_a_failed_message_holds_its_key_and_nothing_else(project: Project) -> None:
    """Its followers wait behind it, other keys go on."""
    broken = True

    def work(event: Moved, publish: Publish) -> None:
        if event.who == "bob" and event.step == 1 and broken:
            raise ValueError("not yet")

    project.consume(Moved, consumer="one", work=work, retry=Retry(5, first=3600))
    project.publish(Moved("bob", 1), Moved("ada", 1), Moved("bob", 2), Moved("ada", 2))
    project.ship()
    project.work()
    assert sorted(project.seen) == ["one ada1", "one ada2", "one bob1"]

    broken = False
    Blocked.objects.update(next_at=now("default"))
    project.work()

    assert [seen for seen in project.seen if "bob" in seen] == ["one bob1", "one bob1", "one bob2"]
    assert Blocked.objects.count() == 0


@committing
def test_after_its_attempts_a_message_is_a_dead_letter(project: Project) -> None:
    """With what it was and why; nothing that its handler did is left."""
    project.consume(Moved, consumer="one", work=fail, retry=Retry(3, first=0))
    project.publish(Moved("ada"), Moved("ada", 1))
    project.ship()
    project.work()

    [letter] = project.letters()
    assert (letter.name, letter.key, letter.attempts, letter.reason) == ("Moved", "ada", 3, "ValueError: no")
    assert project.seen == ["one ada0"] * 3
    assert Note.objects.count() == 0
    assert Outbox.objects.count() == 0


@committing
def test_a_policy_is_the_handlers_else_the_consumers_else_the_default(project: Project, settings: Any) -> None:
    """It is asked when something has failed, so a deploy changes it for what waits already."""
    project.consume(Moved, consumer="one", work=fail, retry=Retry(1))
    project.consume(Moved, consumer="two", work=fail)
    project.consume(Moved, consumer="three", work=fail)
    consumer = {"retry": Retry(2, first=0), "on_dead": "continue"}
    configure(settings, CONSUMERS={"one": consumer, "two": consumer})
    project.publish(Moved("ada", 1), Moved("ada", 2))
    project.ship()
    project.work()

    attempts = {(letter.queue, letter.attempts) for letter in project.letters()}
    assert attempts == {("one", 1), ("two", 2)}
    assert project.seen.count("two ada2") == 2  # it went on without the first
    # After a second it is tried again, which a slow machine may see.
    assert Blocked.objects.get(queue="three").attempts == project.seen.count("three ada1")
    assert "three ada2" not in project.seen


@committing
def test_what_a_consumer_has_no_handler_for_is_dropped_and_counted(project: Project, settings: Any) -> None:
    """Unless it is strict: then it is a dead letter."""
    project.consume(Moved, consumer="one")
    configure(settings, CONSUMERS={"one": {"topics": ["moves", "Settled"]}, "two": {"topics": [], "strict": True}})
    vocabulary = project.bus.vocabulary_of([Moved, Settled])
    for consumer in ("one", "two"):
        door("default").store(consumer, [vocabulary.envelope(Settled("ada"), _metadata())])

    project.work("one")
    assert (Inbox.objects.filter(queue="one").count(), project.letters()) == (0, [])
    project.work("two")
    assert [letter.reason for letter in project.letters()] == ["UnknownMessage: two has no handler for Settled"]


@committing
def test_a_consumer_of_an_event_from_the_other_alias_works_on_its_own(project: Project) -> None:
    """Effect and deletion are one transaction where the inbox is, not where the event was published."""
    registry = project.registry

    def write(command: AuditIt, publish: Publish) -> None:
        AuditEntry.objects.create(text="x")
        publish(AuditWritten("x"))

    def count(event: AuditWritten) -> None:
        Tally.objects.get_or_create(name="audit")
        Tally.objects.filter(name="audit").update(n=F("n") + 1)
        if Tally.objects.get(name="audit").n == 1 and not project.seen:
            project.seen.append("failed once")
            raise ValueError("once")

    registry.add(AuditIt, write)
    registry.add(AuditWritten, count, consumer="ledger", retry=Retry(3, first=0))
    project.bus.send(AuditIt())
    project.ship()
    project.work()

    assert project.seen == ["failed once"]
    assert Tally.objects.get(name="audit").n == 1


@frozen
class AuditIt(Command[None], name="desk.AuditIt"):
    """Runs on the other alias."""


# deferred commands


@committing
def test_a_deferred_command_is_handled_later_once() -> None:
    """By the same handler that send would ask."""
    with transaction.atomic():
        bus.defer(Remind(1, "please"))
    assert Note.objects.count() == 0

    run(consumers(DEFERRED), drain=True)
    run(consumers(DEFERRED), drain=True)

    assert [note.text for note in Note.objects.all()] == ["remind 1 please"]


@committing
def test_commands_are_not_taken_from_a_broker(project: Project) -> None:
    """Whoever can write there is not to command this project."""
    registry = project.registry
    done: list[str] = []
    registry.add(OpenTicket, lambda command: done.append(command.title))
    project.consume(Moved, consumer="one")
    envelope = project.bus.vocabulary_of([OpenTicket]).envelope(OpenTicket("x"), _metadata())
    door("default").store("one", [envelope])

    project.work("one")

    assert done == []
    assert Inbox.objects.count() == 0


# inside of a transaction


@committing
@pytest.mark.parametrize("start", [relays, consumers], ids=["relay", "consumers"])
def test_relay_and_consumers_refuse_to_work_inside_of_a_transaction(start: Callable[[], Any]) -> None:
    """They commit what they do; the error says how to call them."""
    bus.send(OpenTicket("x"))
    with pytest.raises(InsideTransaction, match=r"'default'.*non_atomic_requests"), transaction.atomic():
        run(start(), drain=True)

    assert Outbox.objects.count() == 1


# the database as a broker


@committing
def test_the_door_remembers_what_has_passed_by_consumer_and_source(project: Project) -> None:
    """One row each."""
    project.consume(Moved, consumer="one")
    project.consume(Moved, consumer="two")
    project.publish(Moved("ada"))
    project.ship()

    assert sorted(Seen.objects.values_list("consumer", "source")) == [("one", "desk"), ("two", "desk")]


def test_the_database_broker_keeps_what_it_takes_and_has_no_feeds() -> None:
    """What is published is in the inboxes already."""
    database = broker("database")

    assert database.promise == "stored"
    assert database.feeds("tally", ["tickets"]) == ()


def _metadata() -> Any:
    from simplecqrs.metadata import new_metadata

    return new_metadata(None, None)
