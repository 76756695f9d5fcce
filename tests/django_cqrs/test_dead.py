"""``cqrs_dead`` on call: filters, blocked keys, the canary, and the record of what was done."""

from __future__ import annotations

import getpass
import hashlib
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from attrs import frozen
from django.core.management import CommandError, call_command
from django.db import connections

from django_cqrs.actions import Operator, system_user
from django_cqrs.consumers import consumers
from django_cqrs.inbox import door
from django_cqrs.inspection import DjangoInspection
from django_cqrs.loops import make_loop, run
from django_cqrs.models import Action, Blocked, Dead
from django_cqrs.queue import DjangoStorage
from simplecqrs import NotificationEvent, Publish, Retry
from simplecqrs.queue import LANES, Box, Failure
from simplecqrs.transport import Garbage
from tests.desk.crowds import multiply
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Paid(NotificationEvent, topic="payments", key="who"):
    """For everybody."""

    who: str
    step: int = 0


class Bank:
    """Fails for whom it is told to."""

    def __init__(self, project: Project, **options: Any) -> None:
        self.project = project
        self.down: dict[str, str] = {}
        project.consume(Paid, consumer="one", work=self.work, **{"retry": Retry(1), **options})

    def work(self, event: Paid, publish: Publish) -> None:
        if event.who in self.down:
            raise ConnectionError(self.down[event.who])

    def fail(self, *names: str, cause: str = "the bank is down", steps: int = 1) -> None:
        """Let the payments of some people fail."""
        self.down |= dict.fromkeys(names, cause)
        for name in names:  # one after the other, so that they die in this order
            self.project.publish(*(Paid(name, step) for step in range(steps)))
            self.project.ship()
            self.project.work("one")


@pytest.fixture
def bank(project: Project) -> Bank:
    """Return a bank whose payments die at the first failure."""
    return Bank(project)


def dead(*arguments: str) -> str:
    """Run cqrs_dead and return what it said."""
    out = StringIO()
    call_command("cqrs_dead", *arguments, stdout=out)
    return out.getvalue()


def refused(*arguments: str) -> tuple[str, str]:
    """Run cqrs_dead, which ends with an error, and return what it said before, and the error."""
    out = StringIO()
    with pytest.raises(CommandError) as error:
        call_command("cqrs_dead", *arguments, stdout=out)
    return out.getvalue(), str(error.value)


def names(*arguments: str) -> list[str]:
    """Return the keys of the letters that are listed."""
    return re.findall("key='(.*?)'", dead("list", *arguments))


def kill(box: Box, queue: str, reason: str, *, hold: bool = True) -> None:
    """Make dead letters of what waits in a queue."""
    with DjangoStorage(box, "default").hold(queue, lanes=range(LANES), limit=LANES, local=True, idle=9) as held:
        assert held is not None
        for row in held.read(100, 10**6):
            held.park(row, Failure(reason, 1, None, hold=hold))


# filters


def test_letters_are_listed_by_what_is_asked_for(bank: Bank) -> None:
    """Each filter narrows; what is listed is what is retried or skipped."""
    bank.fail("ada", "bob")
    bank.fail("eve", cause="no such account")

    assert names("--key", "bob") == ["bob"]
    assert names("--cause", "ConnectionError: no such") == ["eve"]
    assert names("--box", "outbox") == []
    assert names("--box", "inbox", "--queue", "one", "--topic", "payments", "--name", "Paid") == ["ada", "bob", "eve"]
    assert names("--since", "1h") == ["ada", "bob", "eve"]
    assert names("--since", "2999-01-01") == []


def test_what_came_from_outside_prints_in_one_line_and_leaves_the_terminal_alone(bank: Bank) -> None:
    """In lists, in the record and in cqrs_status; a letter that is shown keeps the lines of its reason."""
    door("default").bury("one", [Garbage("no\x1b[2J id\rALARM\nsecond line", b"{")])
    number = str(Dead.objects.get().pk)
    status = StringIO()

    call_command("cqrs_status", stdout=status)
    listed, shown, skipped = dead("list"), dead("show", number), dead("skip", number, "--reason", "\x1b[2Jodd")

    assert r"no\x1b[2J id\rALARM" in listed
    assert r"no\x1b[2J id\rALARM" in status.getvalue()
    assert "\nsecond line" in shown
    assert "\x1b" not in listed + shown + skipped + status.getvalue() + dead("log")


def test_a_time_that_is_none_is_told(bank: Bank) -> None:
    """With what would be one."""
    assert "neither a time like" in refused("list", "--since", "yesterday")[1]


def test_a_list_is_short_however_many_have_died(bank: Bank) -> None:
    """The rest is counted."""
    bank.fail("ada", "bob", "eve")

    lines = dead("list", "--limit", "2").splitlines()

    assert lines[0] == "3 x inbox one: ConnectionError: the bank is down"
    assert len(lines) == 4
    assert lines[-1] == "    and 1 more"


def test_only_the_newest_ten_thousand_are_read_for_a_list(bank: Bank) -> None:
    """It says so."""
    letter = {"box": "inbox", "queue": "one", "lane": 0, "version": 0, "payload": b"", "attempts": 1, "holds": False}
    Dead.objects.create(reason="new", **letter)
    multiply(Dead, 14)
    Dead.objects.filter(pk=Dead.objects.order_by("pk")[0].pk).update(reason="old")

    lines = dead("list").splitlines()

    assert lines[0] == "of the newest 10,000 dead letters:"
    assert lines[1] == "10,000 x inbox one: new"
    assert not any("old" in line for line in lines)


def test_skip_takes_filters(bank: Bank) -> None:
    """Only what fits is dropped."""
    bank.fail("ada", "bob")

    dead("skip", "--key", "bob")

    assert names() == ["ada"]


def test_a_large_payload_is_shown_in_part(bank: Bank) -> None:
    """Unless all of it is asked for."""
    door("default").bury("one", [Garbage("too long", b'"' + b"x" * 5000 + b'"')])
    Dead.objects.update(content_type="application/json")
    number = str(Dead.objects.get().pk)

    for options, unit in (([], "characters"), (["--unmasked"], "bytes")):
        assert f"... 5,002 {unit} in all; --full shows them" in dead("show", number, *options)
        assert "x" * 5000 in dead("show", number, "--full", *options)


# blocked keys


def test_a_blocked_key_is_found_with_cause_followers_and_schedule(project: Project) -> None:
    """Parked ones with their next attempt, the longest queue first; held ones with the letter that holds them."""
    bank = Bank(project, retry=Retry(2, first=3600))
    bank.fail("ada")
    bank.fail("bob", steps=3)

    lines = dead("list", "--parked").splitlines()

    assert lines[0] == "2 x inbox one: ConnectionError: the bank is down"
    assert "payments key='bob'  3 wait  since " in lines[1]
    assert re.search(r"attempt 2 in \d,\d\d\d s$", lines[1])
    assert "key='ada'  1 wait" in lines[2]


def test_a_held_key_names_the_letter_that_holds_it(bank: Bank) -> None:
    """That one is to be retried, or skipped."""
    bank.fail("bob", steps=2)

    assert f"held by the dead letter {Dead.objects.get().pk}" in dead("list", "--parked")


def test_no_blocked_keys_are_told_as_well(bank: Bank) -> None:
    """So that nobody thinks that it failed."""
    assert dead("list", "--parked") == "no blocked keys\n"


def test_retry_of_a_key_brings_its_next_attempt_forward(project: Project) -> None:
    """Whoever has mended the cause need not wait for the pause."""
    bank = Bank(project, retry=Retry(3, first=3600))
    bank.fail("ada", "bob")
    bank.down.clear()
    project.seen.clear()

    said = dead("retry", "--key", "bob", "--reason", "the bank is back")
    project.work("one")

    assert "key 'bob' of payments (inbox one) is tried again now" in said
    assert project.seen == ["one bob0"]
    assert [(a.act, a.key, a.reason) for a in Action.objects.all()] == [("hasten", "bob", "the bank is back")]


def test_all_blocked_keys_can_be_brought_forward(project: Project) -> None:
    """Those that a dead letter holds are not among them."""
    bank = Bank(project, retry=Retry(2, first=3600))
    bank.fail("ada", "bob")

    assert "2 blocked keys are tried again now" in dead("retry", "--parked", "--all")
    project.work("one")
    assert "0 blocked keys are tried again now" in dead("retry", "--parked", "--all")
    assert Dead.objects.count() == 2


def test_a_key_whose_dead_letter_was_deleted_by_hand_goes_on(bank: Bank) -> None:
    """Nothing would ever unblock it."""
    bank.fail("bob", steps=2)
    Dead.objects.all().delete()
    bank.down.clear()
    assert "waits for nothing: retry it" in dead("list", "--parked")

    dead("retry", "--parked", "--key", "bob")
    bank.project.work("one")

    assert bank.project.seen[-1] == "one bob1"
    assert Blocked.objects.count() == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["retry"], "needs the numbers of letters"),
        (["skip"], "needs the numbers of letters"),
        (["retry", "--parked"], "needs --all or a filter"),
        (["list", "--parked", "--name", "Paid"], "is no filter of blocked keys"),
    ],
    ids=" ".join,
)
def test_what_is_not_told_is_not_guessed(bank: Bank, arguments: list[str], complaint: str) -> None:
    """The error says what is missing."""
    assert complaint in refused(*arguments)[1]


# the canary


def test_a_canary_retries_one_then_ten_then_hundreds(bank: Bank) -> None:
    """When nothing fails, to the end."""
    people = [f"p{number}" for number in range(13)]
    bank.fail(*people)
    bank.down.clear()

    said = dead("retry", "--all", "--run")

    assert re.findall(r"retried (\d+):", said) == ["1", "10", "2"]
    assert "13 of 13 went well" in said
    assert (Dead.objects.count(), Blocked.objects.count()) == (0, 0)


def test_a_canary_stops_at_the_first_repeat_of_a_failure(bank: Bank) -> None:
    """One was tried; the others are as they were."""
    bank.fail("ada", "bob", "eve")
    bank.project.seen.clear()
    first = Dead.objects.order_by("pk")[0].pk

    said, error = refused("retry", "--all", "--run")

    assert bank.project.seen == ["one ada0"]
    assert "1 failed again: ConnectionError: the bank is down" in said
    assert error.startswith(f"stopped: {first} (inbox one) failed again: ConnectionError: the bank is down")
    assert error.endswith("2 dead letters are left as they were")
    assert Dead.objects.count() == 3


def test_a_canary_notices_a_failure_that_will_be_tried_again(project: Project) -> None:
    """It does not wait for the last attempt."""
    bank = Bank(project, retry=Retry(5, first=3600))
    project.publish(Paid("ada"))
    project.ship()
    kill("inbox", "one", "ConnectionError: the bank is down")
    bank.down["ada"] = "the bank is down"

    _, error = refused("retry", "--key", "ada", "--run")

    assert "(inbox one) failed again: ConnectionError: the bank is down" in error
    assert Blocked.objects.get().attempts == 1


def test_another_failure_is_a_repeat_only_when_it_comes_twice(bank: Bank) -> None:
    """Once may be that message; twice is the mending."""
    bank.fail("ada", "bob", "eve", "kim")
    bank.down = {"ada": "no such account", "kim": "no such account"}

    said, error = refused("retry", "--all", "--run")

    assert re.findall(r"retried (\d+):", said) == ["1", "3"]
    assert "2 failed again: ConnectionError: no such account" in said
    assert "2 of 4 went well" in said
    assert "0 dead letters are left as they were" in error


def test_a_canary_does_not_wait_for_what_stands_behind_a_failure(project: Project) -> None:
    """Two letters of one key: the first one is tried again later, and the second one after it."""
    bank = Bank(project, retry=Retry(5, first=3600))
    for step in (1, 2):
        project.publish(Paid("ada", step))
        project.ship()
        kill("inbox", "one", "ConnectionError: the bank is down", hold=False)
    bank.fail("bob")
    bank.down = {"ada": "no such account"}
    DjangoInspection("default").hasten(Blocked.objects.get().pk)
    kill("inbox", "one", "ConnectionError: the bank is down", hold=False)
    letters = [str(dead.pk) for dead in Dead.objects.order_by("pk")]

    said = dead("retry", "--cause", "ConnectionError", "--run")

    assert len(letters) == 3
    assert "1 failed again: ConnectionError: no such account" in said
    assert "1 failed again: it waits behind another message of its key, which has failed" in said
    assert "1 of 3 went well" in said


def test_a_canary_that_hears_nothing_asks_for_a_worker(bank: Bank) -> None:
    """What was retried stays retried."""
    bank.fail("ada", "bob")
    bank.down.clear()

    _, error = refused("retry", "--all", "--timeout", "0.1")

    assert "had no outcome within 0.1 s; is cqrs_consume for one running?" in error
    assert "--run works the queue here" in error
    assert Dead.objects.count() == 1


@contextmanager
def running() -> Iterator[None]:
    """Run the consumer in a thread, as a daemon would."""
    stop = threading.Event()

    def consume() -> None:
        try:
            run(make_loop(consumers("one"), stop))
        finally:
            connections.close_all()

    thread = threading.Thread(target=consume)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_canary_waits_for_workers_elsewhere(bank: Bank) -> None:
    """As at night: the daemons run, somebody retries."""
    bank.fail("ada", "bob", "eve")
    bank.down.clear()

    with running():
        assert "3 of 3 went well" in dead("retry", "--cause", "ConnectionError")


def test_now_waits_for_nothing(bank: Bank) -> None:
    """All at once, whatever comes of it."""
    bank.fail("ada", "bob")

    assert dead("retry", "--all", "--now").count("is tried again now") == 2
    assert Dead.objects.count() == 0


def test_a_canary_works_the_outbox_as_well(project: Project, settings: Any, tmp_path: Any) -> None:
    """An event that its broker refused, by the relay."""
    backend = {"BACKEND": "tests.desk.brokers.FileBroker", "OPTIONS": {"path": str(tmp_path / "shipped")}}
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"file": backend}, "ROUTES": {"payments": ["file"]}}
    project.publish(Paid("ada"))
    kill("outbox", "file", "no")

    said = dead("retry", "--box", "outbox", "--run")

    assert "1 of 1 went well" in said
    assert "ada" in (tmp_path / "shipped").read_text()


def test_there_may_be_nothing_to_retry(bank: Bank) -> None:
    """It says so."""
    assert dead("retry", "--all") == "there is no dead letter to retry\n"


def test_what_was_never_readable_is_told_by_a_canary(bank: Bank) -> None:
    """And does not keep it from the others."""
    door("default").bury("one", [Garbage("no id", b"{")])
    bank.fail("ada")
    bank.down.clear()

    said = dead("retry", "--all", "--run")

    assert "was never a readable message, or still is not believed; it can only be skipped" in said
    assert "1 of 1 went well" in said


# the record


def test_what_is_done_is_recorded(bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    """Who, when, what and why; of what was skipped, headers and the hash of the payload, not what it said."""
    bank.fail("ada")
    letter = Dead.objects.get()

    with caplog.at_level(logging.INFO, "django_cqrs"):
        dead("skip", str(letter.pk), "--reason", "paid in cash")

    action = Action.objects.get()
    assert (action.act, action.who, action.reason, action.number) == ("skip", system_user(), "paid in cash", letter.pk)
    assert (action.box, action.queue, action.topic, action.key) == ("inbox", "one", "payments", "ada")
    assert (action.name, action.message_id, action.headers) == ("Paid", letter.message_id, letter.headers)
    assert action.payload_sha256 == hashlib.sha256(bytes(letter.payload)).hexdigest()
    assert action.cause == "ConnectionError: the bank is down"
    assert f"{system_user()}: skip of dead letter {letter.pk}" in caplog.text
    assert "paid in cash" in caplog.text


def test_the_record_is_listed_newest_first(bank: Bank) -> None:
    """With the filters that fit."""
    bank.fail("ada", "bob")
    dead("retry", "--key", "ada", "--now", "--reason", "try")
    dead("skip", "--key", "bob", "--reason", "give up")

    first, second = dead("log").splitlines()

    assert "skip" in first
    assert first.endswith(": give up")
    assert "retry" in second
    assert second.endswith(": try")
    assert len(dead("log", "--limit", "1").splitlines()) == 1
    assert dead("log", "--key", "ada").count("\n") == 1


def test_what_could_not_be_done_is_not_recorded(bank: Bank) -> None:
    """A record is of something that has happened."""
    door("default").bury("one", [Garbage("no id", b"{")])
    operator = Operator("default", "ada")

    assert operator.retry(Dead.objects.get().pk) is False
    assert operator.skip(4711) is False
    assert operator.hasten(4711) is False
    assert Action.objects.count() == 0


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container."""
    monkeypatch.delenv("SUDO_USER", raising=False)

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", nameless)

    assert system_user().startswith("uid ")
