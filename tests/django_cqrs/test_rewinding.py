"""Consumers that read once more what they have acknowledged, or forget that they have handled it."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any, cast

import pytest
from attrs import evolve, frozen
from django.core.management import CommandError, call_command

from django_cqrs import processes
from django_cqrs.brokers import INBOXES, broker
from django_cqrs.models import Action, Dead, Inbox, Position, Seen
from django_cqrs.positions import Positions, loss_alarms
from django_cqrs.workers import Beat, beat
from simplecqrs import NotificationEvent
from simplecqrs.memory import MemoryBroker
from simplecqrs.metadata import new_metadata
from simplecqrs.transport import Delivery, Feed
from tests.desk.numbers import Counted, Plain, counting
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Shouted(NotificationEvent, topic="voices", key="who"):
    """For everybody, by way of the database."""

    who: str
    step: int = 0


@pytest.fixture
def numbers(project: Project, settings: Any) -> Project:
    """Return a project with a consumer of a broker in memory, and one of the database."""
    project.consume(Shouted, consumer="two")
    return counting(project, settings)


def consume(*arguments: str) -> str:
    """Call the command."""
    out = StringIO()
    call_command("cqrs_consume", *arguments, stdout=out)
    return out.getvalue()


def done(numbers: Project, *events: Any) -> None:
    """Publish events, ship and handle them."""
    numbers.publish(*events)
    numbers.ship()
    numbers.work("one", "two")


def test_a_consumer_reads_once_more_and_its_door_drops_what_it_knows(numbers: Project) -> None:
    """It is said, and recorded; the command ends then."""
    done(numbers, Counted("ann", 1), Counted("ann", 2))
    Seen.objects.filter(consumer="one", message_id=last_id()).delete()

    said = consume("one", "--rewind", "1h", "--reason", "restored", "--yes")
    numbers.work("one")

    assert numbers.seen == ["one ann1", "one ann2", "one ann2"]
    assert said.startswith("one reads numbers from 20")
    recorded = Action.objects.get()
    assert (recorded.act, recorded.box, recorded.queue, recorded.reason) == ("rewind", "inbox", "one", "restored")
    assert recorded.cause == "back to 1h"


def last_id() -> Any:
    """Return the id of the last event that the broker has got."""
    return cast(MemoryBroker, broker("events")).published[-1].id


def test_who_has_not_written_down_where_it_was_begins_at_the_beginning(numbers: Project) -> None:
    """Which does no harm, and is said."""
    done(numbers, Counted("ann", 1))

    said = consume("one", "--rewind", "mark", "--yes")
    numbers.work("one")

    assert said == "one reads numbers from its beginning: nobody has written down where it was\n"
    assert numbers.seen == ["one ann1"]


def test_nothing_is_kept_of_the_database_without_a_history(numbers: Project, settings: Any) -> None:
    """Which is said."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "KEEP_HISTORY": None}

    assert "KEEP_HISTORY is off" in consume("two", "--rewind", "1h", "--yes")


def test_a_projection_is_built_anew(numbers: Project) -> None:
    """Everything comes again, and once."""
    done(numbers, Counted("ann", 1), Counted("ann", 2), Shouted("bob"))
    numbers.seen.clear()

    said = consume("one", "--reset", "--yes")
    numbers.work("one")
    consume("two", "--reset", "--yes")
    numbers.work("two")

    assert numbers.seen == ["one ann1", "one ann2", "two bob0"]
    assert "one has forgotten the ids of 2 messages\none reads numbers from its beginning\n" in said
    assert [action.act for action in Action.objects.all()] == ["reset", "reset"]


def old(numbers: Project, step: int) -> None:
    """Let an event come that is older than the memory of ids."""
    envelope = numbers.bus.vocabulary.envelope(Counted("ann", step), new_metadata(None, None))
    broker("events").publish([evolve(envelope, time=envelope.time - timedelta(days=99))], deadline=1)


def test_what_is_older_than_the_memory_of_ids_is_let_in_if_that_is_said(numbers: Project) -> None:
    """Else it is dead; going back says so beforehand."""
    old(numbers, 1)
    numbers.work("one")
    given_up = [letter.reason for letter in numbers.letters()]
    Dead.objects.all().delete()
    Seen.objects.all().delete()

    warned = consume("one", "--rewind", "2026-01-01", "--yes")
    consume("one", "--rewind", "365d", "--replay", "--drain", "--yes")

    assert given_up == ["too old to deduplicate"]
    assert "what is older than 14 days (SEEN_DAYS) becomes dead letters" in warned
    assert numbers.seen == ["one ann1"]
    assert [action.act for action in Action.objects.order_by("pk")] == ["rewind", "rewind", "replay"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rewind", "1h"], "--rewind is for one consumer: cqrs_consume NAME --rewind"),
        (["one", "two", "--reset"], "--reset is for one consumer"),
        (["three", "--replay"], "there is no consumer 'three'; known are one, two"),
        (["one", "--rewind", "soon"], "--rewind 'soon' is neither a time like"),
        (["two", "--rewind", "mark", "--yes"], "two has its events in its own database, restored with all else"),
        (["one", "--rewind", "mark"], "let one read once more what came since its own mark: say --yes"),
        (["one", "--rewind", "1h"], "let one read once more what came since 1h: say --yes"),
        (["one", "--reset"], "let one forget all that it has seen, and handle everything again: say --yes"),
        (["one", "--replay"], "let one handle what it may have handled more than 14 days ago: say --yes"),
    ],
)
@pytest.mark.usefixtures("numbers")
def test_it_says_what_is_missing(arguments: list[str], says: str) -> None:
    """In a line."""
    with pytest.raises(CommandError, match=says):
        consume(*arguments)


@pytest.mark.parametrize("option", ["--reset", "--replay"])
@pytest.mark.usefixtures("numbers")
def test_what_is_not_safe_beside_workers_is_refused_while_there_are_some(option: str) -> None:
    """As they say themselves; another consumer's are in nobody's way."""
    beat(INBOXES, [Beat(job="consumer two", box="inbox", queue="two")])
    beat(INBOXES, [Beat(job="fetcher one")], pid=4711)

    with pytest.raises(CommandError, match=rf"{option} is not safe while one is at work: \S+ 4711 said so \d s ago"):
        consume("one", option, "--drain", "--yes")


def test_who_has_something_to_do_cannot_forget(numbers: Project) -> None:
    """It would come once more, and be handled twice."""
    numbers.publish(Shouted("ann"))
    numbers.ship()

    with pytest.raises(CommandError, match="two has messages in its inbox: they would come once more"):
        consume("two", "--reset", "--yes")

    assert (Inbox.objects.count(), Seen.objects.count()) == (1, 1)


@pytest.mark.parametrize("how", [["--rewind", "1h"], ["--reset"]])
def test_a_broker_that_keeps_nothing_says_who_can_help(numbers: Project, settings: Any, how: list[str]) -> None:
    """The producers; and no id is forgotten, nor anything recorded that was not done."""
    done(numbers, Counted("ann", 1))
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"events": {"BACKEND": "tests.desk.numbers.Forgetful"}}}

    with pytest.raises(CommandError, match=r"events \(Forgetful\) keeps nothing that was .*: manage.py cqrs_resend"):
        consume("one", *how, "--yes")

    assert (Seen.objects.count(), Action.objects.count()) == (1, 0)


def losing(options: Any, out: Any) -> int:
    """Stand for what a worker process does that has lost three messages."""
    return 3


def test_a_worker_process_tells_by_its_code_that_something_is_lost() -> None:
    """Whoever has started it starts no other in its place."""
    with pytest.raises(SystemExit) as ended:
        processes._in_process(f"{__name__}.losing", {})

    assert ended.value.code == processes.LOST


class Watched(MemoryBroker):
    """Finds each time that two messages are gone."""

    def feeds(self, consumer: str, topics: Any, /) -> Any:
        """Return feeds that tell of losses."""
        return [Telling(feed) for feed in super().feeds(consumer, topics)]


class Telling(Plain):
    """A feed that loses two messages before what it brings."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.lost, self.mark, self.compared = 0, "", ""
        self._feed = feed
        self.fetch = self._fetch

    def compare(self, mark: str, /) -> None:
        """Take note."""
        self.compared = mark

    def _fetch(self, limit: int, /) -> list[Delivery]:
        found = list(self._feed.fetch(limit))
        self.lost, self.mark = self.lost + 2 * bool(found), self.mark or "here"
        return found


def test_a_loss_is_an_alarm_until_somebody_cares_and_the_command_ends_with_2(numbers: Project, settings: Any) -> None:
    """How far it was is kept until the next start."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"events": {"BACKEND": f"{__name__}.Watched"}}}
    numbers.publish(Counted("ann"))
    numbers.ship()

    with pytest.raises(CommandError, match="messages were lost at a broker") as raised:
        consume("one", "--drain")
    alarms = list(loss_alarms("default"))
    feeds = broker("events").feeds("one", ["numbers"])
    Positions(consumer="one", broker="events", feeds=feeds).compare()
    call_command("cqrs_resend", "--route", "events", "--since", "1h", "--yes", stdout=StringIO())

    assert raised.value.returncode == 2
    assert len(alarms) == 1
    assert "inbox one: 2 messages at least of numbers (events) are gone that it had not read" in alarms[0]
    assert cast(Telling, feeds[0]).compared == "here"
    assert list(loss_alarms("default")) == []
    assert Position.objects.get().lost == 2
