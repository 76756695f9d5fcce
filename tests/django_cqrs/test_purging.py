"""Retention: ids are forgotten in time, and what is older than the memory of ids is not handled by chance."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from attrs import evolve, frozen
from django.apps import apps
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_cqrs import bus
from django_cqrs.consumers import consumers
from django_cqrs.inbox import door
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Action, Blocked, Dead, Idempotency, Inbox, ParkedInbox, Seen
from django_cqrs.purging import ACTIONS, ALL, KEYS, LETTERS, horizon, number_of, purge
from simplecqrs import NotificationEvent, Publish, Retry
from simplecqrs.envelope import Envelope
from simplecqrs.metadata import new_metadata
from simplecqrs.queue import Stored, lane_of
from tests.desk.messages import OpenTicket
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Counted(NotificationEvent, topic="numbers", key="who"):
    """For everybody."""

    who: str
    step: int = 0


@pytest.fixture
def numbers(project: Project) -> Project:
    """Return a project with a consumer."""
    project.consume(Counted, consumer="one")
    consumers()
    return project


def envelope(project: Project, who: str, *, days: float = 0) -> Envelope:
    """Return an event that was published so many days ago."""
    made = project.bus.vocabulary.envelope(Counted(who), new_metadata(None, None))
    return evolve(made, time=timezone.now() - timedelta(days=days))


def see(*days: float) -> None:
    """Remember ids that were seen so many days ago."""
    Seen.objects.bulk_create(
        [
            Seen(
                consumer="one", source="", message_id=uuid4(), crc=1, seen_at=timezone.now() - timedelta(days=day)
            )
            for day in days
        ]
    )  # fmt: skip


def keep_keys(*days: float) -> None:
    """Keep idempotency keys of so many days ago."""
    for day in days:
        at = timezone.now() - timedelta(days=day)
        Idempotency.objects.create(digest=uuid4().hex, name="x", fingerprint="", created_at=at)


def message(key: str = "") -> dict[str, Any]:
    """Return the columns of a message of the consumer."""
    return {
        "queue": "one", "lane": 0, "topic": "numbers", "key": key, "message_id": uuid4(), "kind": "event",
        "name": "Counted", "version": 1, "source": "", "time": timezone.now(), "correlation_id": "", "headers": "{}",
        "content_type": "", "payload": b"{}",
    }  # fmt: skip


def bury(*, days: float, key: str = "") -> int:
    """Make a dead letter of so many days ago, and return its number."""
    since = timezone.now() - timedelta(days=days)
    return int(
        Dead.objects.create(box="inbox", attempts=3, reason="no", holds=True, since=since, row=1, **message(key)).pk
    )


def purged(*arguments: str) -> str:
    """Run cqrs_purge and return what it said."""
    out = StringIO()
    call_command("cqrs_purge", *arguments, stdout=out)
    return out.getvalue()


def test_what_was_seen_before_the_horizon_is_forgotten() -> None:
    """And nothing else."""
    see(13, 15, 16, 0)

    assert purge("default", seconds=60) == (2, True)

    since = horizon()
    assert since is not None
    assert Seen.objects.count() == Seen.objects.filter(seen_at__gte=since).count() == 2


def test_it_is_done_in_chunks_the_oldest_first_and_the_database_rests_between() -> None:
    """So that nobody waits for it."""
    see(*range(20, 32))
    pauses: list[float] = []

    assert purge("default", seconds=60, chunk=5, rest=pauses.append) == (12, True)
    assert len(pauses) == 2
    assert all(pause > 0 for pause in pauses)


def test_it_ends_in_time_and_says_that_there_is_more() -> None:
    """The next one goes on."""
    see(*range(20, 32))

    assert purge("default", seconds=0, chunk=5) == (5, False)
    assert Seen.objects.order_by("seen_at")[0].seen_at > timezone.now() - timedelta(days=27)


def test_ids_may_be_remembered_for_ever(settings: Any) -> None:
    """By SEEN_DAYS = 0."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SEEN_DAYS": 0}
    see(1000)
    out = StringIO()

    call_command("cqrs_purge", stdout=out)

    assert out.getvalue().startswith("SEEN_DAYS is 0: ids are remembered for ever\ndefault: 0 idempotency keys")
    assert purge("default", seconds=60) == (0, True)
    assert Seen.objects.count() == 1


def test_command_and_task_purge_all_aliases() -> None:
    """And the command tells how much."""
    from django_cqrs import tasks

    see(20)
    keep_keys(8, 9)
    out = StringIO()
    call_command("cqrs_purge", stdout=out)
    see(20)
    keep_keys(8, 6)
    tasks.purge()

    assert out.getvalue().startswith(
        "default: 1 ids forgotten\naudit: 0 ids forgotten\n"
        "default: 2 idempotency keys forgotten\naudit: 0 idempotency keys forgotten\n"
    )
    assert (Seen.objects.count(), Idempotency.objects.count()) == (0, 1)


def test_kinds_can_be_named_with_days_of_their_own() -> None:
    """What is not named stays; ids are never forgotten earlier than the door believes."""
    see(20)
    keep_keys(2, 9)

    assert purged("keys", "--days", "1") == (
        "default: 2 idempotency keys forgotten\naudit: 0 idempotency keys forgotten\n"
    )
    assert Seen.objects.count() == 1
    with pytest.raises(CommandError, match="SEEN_DAYS=14; whoever forgets ids earlier"):
        purged("seen", "--days", "13")
    with pytest.raises(CommandError, match="for the kinds that are named"):
        purged("--days", "13")
    with pytest.raises(CommandError, match="no kind 'dreams'; there are seen, keys, sagas"):
        purged("dreams")
    with pytest.raises(CommandError, match="no alias with an outbox 'moon'"):
        purged("--database", "moon")


def test_a_dry_run_counts_and_forgets_nothing() -> None:
    """Of each kind, up to ten thousand."""
    see(20, 15, 1)
    bury(days=100)

    told = purged("--dry-run", "--database", "default").splitlines()

    assert told[:2] == ["default: 2 ids would be forgotten", "default: 0 idempotency keys would be forgotten"]
    assert told[4:6] == ["DEAD_DAYS is 0: dead letters are remembered for ever",
                         "ACTION_DAYS is 0: acts of operators are remembered for ever"]  # fmt: skip
    assert purged("dead", "--days", "99", "--dry-run").startswith("default: 1 dead letters would be")
    assert (Seen.objects.count(), Dead.objects.count()) == (3, 1)


def test_dead_letters_are_forgotten_if_a_setting_says_so_and_recorded(settings: Any) -> None:
    """Their headers stay, and the hash of their payload, as after a skip; a key that one held goes on."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "DEAD_DAYS": 30}
    old = bury(days=31, key="ada")
    Blocked.objects.create(
        box="inbox", queue="one", lane=0, topic="numbers", key="ada", slot=0, head=1, attempts=3, error="no"
    )
    bury(days=29)

    assert purge("default", of=LETTERS, seconds=60) == (1, True)

    assert Dead.objects.filter(pk=old).count() == 0
    assert Blocked.objects.get().next_at is not None
    action = Action.objects.get()
    assert (action.who, action.act, action.number, action.key) == ("cqrs_purge", "forget", old, "ada")
    assert len(action.payload_sha256) == 64


def test_a_dead_letter_is_kept_that_something_waits_behind(settings: Any) -> None:
    """Its order is given up by a person, or by nobody."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "DEAD_DAYS": 30}
    bury(days=31, key="ada")
    bury(days=31, key="bob")
    ParkedInbox.objects.create(id=7, **message("ada"))

    assert number_of("default", LETTERS) == 1
    assert purge("default", of=LETTERS, seconds=60) == (1, True)
    assert Dead.objects.get().key == "ada"


def test_acts_of_operators_are_forgotten_if_a_setting_says_so(settings: Any) -> None:
    """For ever is the default: it is an audit."""
    Action.objects.create(act="skip", who="eve", number=1, at=timezone.now() - timedelta(days=400))
    assert purge("default", of=ACTIONS, seconds=60) == (0, True)

    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "ACTION_DAYS": 365}

    assert purge("default", of=ACTIONS, seconds=60) == (1, True)


def test_a_key_that_was_forgotten_is_a_new_one() -> None:
    """IDEMPOTENCY_DAYS is how long an answer can be asked for."""
    bus.send(OpenTicket("printer"), idempotency_key="k")
    Idempotency.objects.update(created_at=timezone.now() - timedelta(days=8))

    assert purge("default", of=KEYS, seconds=60) == (1, True)

    bus.send(OpenTicket("scanner"), idempotency_key="k")
    assert Idempotency.objects.get().created_at > timezone.now() - timedelta(minutes=5)


def test_a_message_older_than_the_memory_of_ids_is_a_dead_letter(numbers: Project) -> None:
    """It may have been handled, and forgotten; a second one of it is dropped as ever."""
    old = envelope(numbers, "ada", days=15)

    assert door("default").store("one", [old, envelope(numbers, "bob", days=13)]) == Stored(2, 0)
    assert door("default").store("one", [old]) == Stored(0, 1)
    numbers.work()

    assert numbers.seen == ["one bob0"]
    [letter] = numbers.letters()
    assert (letter.reason, letter.key, letter.message_id) == ("too old to deduplicate", "ada", str(old.id))


def test_a_known_message_is_dropped_however_old_it_is(numbers: Project) -> None:
    """Its id is remembered still."""
    old = envelope(numbers, "ada", days=13)
    door("default").store("one", [old])

    assert door("default").store("one", [evolve(old, time=old.time - timedelta(days=2))]) == Stored(0, 1)
    assert numbers.letters() == []


def test_a_retry_lets_a_message_in_that_was_too_old(numbers: Project) -> None:
    """An operator knows what nobody else can tell."""
    old = evolve(envelope(numbers, "ada", days=15), correlation_id="story", headers={"traceparent": "00-ab"})
    door("default").store("one", [old])

    assert DjangoInspection("default").retry(numbers.letters()[0].id) is True

    row = Inbox.objects.get()
    assert (row.correlation_id, row.traceparent, row.lane) == ("story", "00-ab", lane_of(old))
    numbers.work()
    assert numbers.seen == ["one ada0"]


def test_a_consumer_that_replays_takes_whatever_there_is(numbers: Project, settings: Any) -> None:
    """As a new one that begins with an old stream."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"one": {"replay": True}}}

    door("default").store("one", [envelope(numbers, "ada", days=1000)])

    assert (Inbox.objects.count(), Dead.objects.count()) == (1, 0)


def test_what_leaves_the_outbox_late_is_not_too_old(numbers: Project) -> None:
    """The database is the broker: what is in the outbox cannot have come before."""
    from django_cqrs.brokers import DatabaseBroker

    DatabaseBroker().publish([envelope(numbers, "ada", days=100)], deadline=1)

    assert (Inbox.objects.count(), Dead.objects.count()) == (1, 0)


@pytest.mark.parametrize("act", ["retry", "skip"])
def test_a_letter_that_died_in_a_lane_that_is_no_more_gets_a_new_one(project: Project, settings: Any, act: str) -> None:
    """An inbox gets other lanes when it is empty; its dead letters may lie in the old ones."""
    fails = [True]

    def work(event: Counted, publish: Publish) -> None:
        if fails[0]:
            raise ValueError("no")

    def lanes(number: int) -> None:
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"one": {"lanes": number}}}
        consumers()

    project.consume(Counted, consumer="one", work=work, retry=Retry(1))
    lanes(256)
    door("default").store("one", [envelope(project, "ada")])
    project.work()
    assert Blocked.objects.get().lane > 2
    lanes(1)
    fails[0] = False

    getattr(DjangoInspection("default"), act)(Dead.objects.get().pk)
    door("default").store("one", [envelope(project, "ada")])
    project.seen.clear()
    project.work()

    assert project.seen == ["one ada0"] * (2 if act == "retry" else 1)
    assert Blocked.objects.count() == 0


def test_what_a_purge_looks_for_has_an_index() -> None:
    """Or it would read the table each time."""
    models = {model._meta.db_table: model for model in apps.get_app_config("django_cqrs").get_models()}
    by_time = [of for of in ALL if of.delete is None]

    assert [of.kind for of in by_time if of.at not in first_columns(models[of.table])] == []


def first_columns(model: Any) -> set[str]:
    """Return the columns that indexes of a table begin with, its primary key's among them."""
    key = model._meta.pk_fields[0].name
    return {key, *(index.fields[0] for index in model._meta.indexes)}
