"""The acceptance rows of outbox and inbox on real databases: 50, 51, 52, 54, 55, 58, 59, 60."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from attrs import frozen
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_cqrs.brokers import DatabaseBroker
from django_cqrs.consumers import consumers
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Blocked, Dead, Inbox, Outbox, ParkedInbox, ParkedOutbox
from simplecqrs import DomainEvent, NotificationEvent, Publish, Retry
from simplecqrs.envelope import Envelope
from simplecqrs.letters import Letter
from simplecqrs.metadata import new_metadata
from tests.desk.models import Note, Tally
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Step(NotificationEvent, topic="steps", key="who"):
    """One of several, in their order."""

    who: str
    step: int = 0
    text: str = ""


@frozen
class Noted(NotificationEvent, topic="notes", key="who"):
    """On another topic."""

    who: str
    step: int = 0


@frozen
class Followed(DomainEvent):
    """What a step sets off here."""

    who: str


@pytest.fixture
def picky(settings: Any, tmp_path: Path) -> Path:
    """Route steps to a broker that refuses some of them; return the file that it writes."""
    path = tmp_path / "shipped"
    path.touch()
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS,
        "BROKERS": {"picky": {"BACKEND": "tests.desk.brokers.PickyBroker", "OPTIONS": {"path": str(path)}}},
        "ROUTES": {"steps": ["picky"]},
        "RELAY_RETRY": Retry(3, first=0),
    }
    return path


def shipped(path: Path) -> list[tuple[str, int]]:
    """Return key and step of all that the broker took, in its order."""
    found = [line.split(" ", 4) for line in path.read_text().splitlines()]
    return [(key, json.loads(payload)["step"]) for _, _, _, key, payload in found]


def manage(*arguments: str) -> str:
    """Run a management command and return what it said."""
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def letters() -> list[Letter]:
    """Return all dead letters."""
    return list(DjangoInspection("default").letters())


def pause_of(blocked: Any) -> float:
    """Return the seconds until a key is tried again."""
    assert blocked.next_at is not None
    return float((blocked.next_at - timezone.now()).total_seconds())


# 50: idempotent


def test_row_50_a_batch_that_is_shipped_again_has_its_effect_once(project: Project) -> None:
    """A relay that dies before it has deleted what it shipped ships it again, with the same id."""
    project.consume(Step, consumer="one")
    consumers()
    project.publish(Step("ada"))
    again = Outbox.objects.get()
    project.ship()
    again.save(force_insert=True)

    project.ship()
    project.work()

    assert project.seen == ["one ada0"]
    assert not Outbox.objects.exists()


# 51: states and attempts


def test_row_51_an_event_is_pending_parked_shipped_or_dead_with_a_reason(project: Project, picky: Path) -> None:
    """NEW is a row, NOT_PRODUCED a parked one, PRODUCED is gone, DEAD is a letter; the number of attempts is set."""
    project.publish(Step("ada", 1, "refused"), Step("bob", 1))
    assert (Outbox.objects.count(), ParkedOutbox.objects.count()) == (2, 0)

    manage("cqrs_relay", "--once", "--route", "picky")
    assert shipped(picky) == [("bob", 1)]
    assert (Outbox.objects.count(), ParkedOutbox.objects.count()) == (0, 1)
    [blocked] = DjangoInspection("default").blocked()
    assert (blocked.key, blocked.attempts, blocked.cause) == ("ada", 1, "not to my taste")

    manage("cqrs_relay", "--drain", "--route", "picky")
    assert (Outbox.objects.count(), ParkedOutbox.objects.count()) == (0, 0)
    assert [(letter.key, letter.attempts, letter.reason) for letter in letters()] == [("ada", 3, "not to my taste")]


# 52: reading in batches


def test_row_52_a_refused_event_is_not_overtaken_by_its_key(project: Project, picky: Path) -> None:
    """Each key comes in its order, before and after; other keys, and other brokers, go on."""
    project.publish(Step("ada", 1, "refused"), *(Step(who, step) for step in (2, 3, 4) for who in ("ada", "bob")))

    manage("cqrs_relay", "--drain", "--route", "picky")
    assert shipped(picky) == [("bob", 2), ("bob", 3), ("bob", 4)]

    picky.with_suffix(".mended").touch()
    manage("cqrs_dead", "retry", "--all", "--run")
    manage("cqrs_relay", "--drain", "--route", "picky")

    assert [step for who, step in shipped(picky) if who == "ada"] == [1, 2, 3, 4]


def test_row_52_a_relay_may_be_told_what_to_ship_and_how_much(project: Project, picky: Path, settings: Any) -> None:
    """Topics go to brokers by their routes; a relay of one broker ships these, a batch at a time."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "RELAY_BATCH": 3}
    project.publish(*(Step("ada", step) for step in range(5)), *(Noted("ada", step) for step in range(5)))

    manage("cqrs_relay", "--once", "--route", "picky")

    assert shipped(picky) == [("ada", 0), ("ada", 1), ("ada", 2)]
    assert Outbox.objects.filter(topic="notes").count() == 5


# 54: backoff


def test_row_54_pauses_grow_exponentially_with_jitter(project: Project, picky: Path, settings: Any) -> None:
    """The time of the next attempt is kept; an operator may bring it forward."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "RELAY_RETRY": Retry(10, first=60, jitter=0.2)}
    project.publish(Step("ada", 1, "refused"))
    pauses = []

    for _ in range(3):
        manage("cqrs_relay", "--drain", "--route", "picky")
        [blocked] = DjangoInspection("default").blocked()
        pauses.append(pause_of(blocked))
        manage("cqrs_dead", "retry", "--parked", "--key", "ada")

    for pause, expected in zip(pauses, (60, 120, 240), strict=True):
        assert 0.8 * expected - 20 <= pause <= 1.2 * expected
    assert len({round(pause / expected, 6) for pause, expected in zip(pauses, (60, 120, 240), strict=True)}) > 1


def test_row_54_a_broker_that_is_down_costs_no_attempt(project: Project, picky: Path) -> None:
    """However often it is asked: nothing is parked, nothing dies, and all is shipped when it is back."""
    project.publish(*(Step("ada", step) for step in range(3)))
    picky.with_suffix(".down").touch()

    for _ in range(5):
        with pytest.raises(CommandError, match="nobody is there"):
            manage("cqrs_relay", "--drain", "--route", "picky")
    assert (Outbox.objects.count(), ParkedOutbox.objects.count(), Dead.objects.count()) == (3, 0, 0)
    picky.with_suffix(".down").unlink()
    manage("cqrs_relay", "--drain", "--route", "picky")

    assert shipped(picky) == [("ada", 0), ("ada", 1), ("ada", 2)]


# 55: the tables' names


def test_row_55_the_tables_have_the_prefix_that_the_project_wants(tmp_path: Path) -> None:
    """Set before the first migrate; models and migrations agree on it."""
    code = f"""
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django_cqrs"], USE_TZ=True,
    DJANGO_CQRS={{"TABLE_PREFIX": "shop_"}}, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {str(tmp_path / "db")!r}}}}})
django.setup()
from django.apps import apps
from django.core.management import call_command
from django.db import connection
call_command("migrate", verbosity=0)
call_command("makemigrations", "--check", "--dry-run", verbosity=0)
tables = set(connection.introspection.table_names())
ours = {{model._meta.db_table for model in apps.get_app_config("django_cqrs").get_models()}}
assert ours <= tables and all(table.startswith("shop_") for table in ours), (ours, tables)
assert not [table for table in tables if table.startswith("cqrs_")], tables
call_command("cqrs_status")
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


# 58: one by its id


def test_row_58_one_event_is_shipped_by_its_id(project: Project, picky: Path) -> None:
    """It leaves the outbox; the others stay."""
    project.publish(Step("ada", 1), Step("bob", 1), Step("eve", 1))
    wanted = Outbox.objects.get(key="bob")

    assert f"{wanted.message_id} is shipped to picky" in manage("cqrs_relay", "--message", str(wanted.message_id))

    assert shipped(picky) == [("bob", 1)]
    assert sorted(Outbox.objects.values_list("key", flat=True)) == ["ada", "eve"]


def test_row_58_what_waits_before_it_is_not_overtaken_unless_told(project: Project, picky: Path) -> None:
    """The error names it."""
    project.publish(Step("ada", 1), Step("ada", 2))
    first, second = Outbox.objects.order_by("id")

    with pytest.raises(CommandError, match=f"Step {first.message_id} of the key 'ada' waits before it"):
        manage("cqrs_relay", "--message", str(second.message_id))
    assert shipped(picky) == []

    manage("cqrs_relay", "--message", str(second.message_id), "--out-of-order")
    assert shipped(picky) == [("ada", 2)]
    assert Outbox.objects.get() == first


def test_row_58_a_blocked_key_is_not_overtaken_either(project: Project, picky: Path, settings: Any) -> None:
    """The error says why it is blocked."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "RELAY_RETRY": Retry(3, first=3600)}
    project.publish(Step("ada", 1, "refused"))
    manage("cqrs_relay", "--once", "--route", "picky")
    project.publish(Step("ada", 2))

    with pytest.raises(CommandError, match="its key 'ada' is blocked: not to my taste"):
        manage("cqrs_relay", "--message", str(Outbox.objects.get().message_id))


def test_row_58_what_cannot_be_shipped_is_told(project: Project, picky: Path) -> None:
    """Refused, parked, dead, or not there at all."""
    project.publish(Step("ada", 1, "refused"))
    number = str(Outbox.objects.get().message_id)

    with pytest.raises(CommandError, match=f"picky did not take {number}: not to my taste"):
        manage("cqrs_relay", "--message", number)
    assert Outbox.objects.count() == 1
    manage("cqrs_relay", "--once", "--route", "picky")
    with pytest.raises(CommandError, match=r"is parked; .*retry --box outbox --key 'ada'"):
        manage("cqrs_relay", "--message", number)
    manage("cqrs_relay", "--drain", "--route", "picky")
    with pytest.raises(CommandError, match="is the dead letter"):
        manage("cqrs_relay", "--message", number)
    with pytest.raises(CommandError, match="it was shipped, or never published"):
        manage("cqrs_relay", "--message", str(uuid4()))


def test_row_58_an_event_goes_to_each_broker_that_it_waits_for(project: Project, picky: Path, settings: Any) -> None:
    """Or to the one that is named."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "ROUTES": {"steps": ["picky", "database"]}}
    project.publish(Step("ada", 1))
    number = str(Outbox.objects.first().message_id)

    assert manage("cqrs_relay", "--message", number, "--route", "database").endswith("to database\n")
    assert Outbox.objects.get().queue == "picky"


# 59 and 60: the inbox


def envelope(project: Project, event: Any) -> Envelope:
    """Encode an event."""
    return project.bus.vocabulary.envelope(event, new_metadata(None, None))


def test_row_59_a_consumer_has_each_message_once_and_another_consumer_has_its_own(project: Project) -> None:
    """The second option of row 60 as well: who wants deduplication per handler names a consumer per handler."""
    project.consume(Step, consumer="one")
    project.consume(Step, consumer="two")
    consumers()
    event = envelope(project, Step("ada"))

    for _ in range(3):
        DatabaseBroker().publish([event], deadline=1)
    project.work()

    assert sorted(project.seen) == ["one ada0", "two ada0"]


def test_row_60_a_failing_handler_is_tried_again_alone_with_growing_pauses(project: Project) -> None:
    """Its writes are rolled back; the other consumer has handled the message, once."""

    def work(event: Step, publish: Publish) -> None:
        Tally.objects.create(name="half")
        raise ConnectionError("no server\nat all")

    project.consume(Step, consumer="bad", work=work, retry=Retry(3, first=60, jitter=0.2))
    project.consume(Step, consumer="good")
    project.publish(Step("ada"))
    project.ship()
    pauses = []

    for _ in range(2):
        project.work()
        [blocked] = DjangoInspection("default").blocked()
        pauses.append(pause_of(blocked))
        manage("cqrs_dead", "retry", "--parked", "--key", "ada")
    project.work()

    assert 28 <= pauses[0] <= 72
    assert 76 <= pauses[1] <= 144
    assert (project.seen.count("bad ada0"), project.seen.count("good ada0")) == (3, 1)
    assert Tally.objects.count() == 0
    [letter] = letters()
    assert (letter.queue, letter.cause, letter.attempts) == ("bad", "ConnectionError: no server", 3)


def test_row_60_a_failing_handler_of_a_follow_up_counts_as_a_failure(project: Project) -> None:
    """The message is not done while something that it set off has failed; nothing of it stays."""

    def follow_up(event: Followed, publish: Publish) -> None:
        raise ValueError(f"no {event.who}")

    def work(event: Step, publish: Publish) -> None:
        Note.objects.create(text="half")
        publish(Followed(event.who))

    project.registry.add(Followed, follow_up)
    project.consume(Step, consumer="one", work=work, retry=Retry(2, first=0))
    project.publish(Step("ada"))
    project.ship()

    project.work()

    assert project.seen == ["one ada0", "one ada0"]
    assert [(letter.reason, letter.attempts) for letter in letters()] == [("ValueError: no ada", 2)]
    assert Note.objects.count() == 0


def test_row_60_other_keys_go_on_while_one_waits(project: Project) -> None:
    """No lock is kept on what waits."""

    def work(event: Step, publish: Publish) -> None:
        if event.who == "ada":
            raise ValueError("no ada")

    project.consume(Step, consumer="one", work=work, retry=Retry(3, first=3600))
    project.publish(*(Step(who, step) for step in range(3) for who in ("ada", "bob")))
    project.ship()

    project.work()

    assert [seen for seen in project.seen if "bob" in seen] == ["one bob0", "one bob1", "one bob2"]
    assert project.seen.count("one ada0") == 1
    assert (Inbox.objects.count(), ParkedInbox.objects.count(), Blocked.objects.count()) == (0, 3, 1)
