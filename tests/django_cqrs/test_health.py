"""What load balancers and supervisors ask: is it alive, is it ready, does somebody still watch?"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import RequestFactory

from django_cqrs import health
from django_cqrs.health import Probe
from django_cqrs.models import Outbox
from tests.desk import processes

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test ask anew."""
    monkeypatch.setattr(health, "_probe", Probe(health._databases))


def ask(view: Callable[[Any], Any], method: str = "get") -> tuple[int, Any]:
    """Return the status and what was said."""
    response = view(getattr(RequestFactory(), method)("/"))
    assert "no-cache" in response["Cache-Control"] or response.status_code == 405
    return response.status_code, json.loads(response.content or "null")


def test_a_process_that_answers_is_alive() -> None:
    """It asks nobody: an outage of the database is no reason to start it anew."""
    assert ask(health.live) == (200, {"status": "ok"})
    assert ask(health.live, "post")[0] == 405


def test_a_process_whose_databases_answer_is_ready() -> None:
    """And tells no more than that."""
    assert ask(health.ready) == (200, {"status": "ok"})


def test_without_our_tables_it_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the database is told, and nothing of its error."""
    monkeypatch.setattr(Outbox._meta, "db_table", "cqrs_gone")

    status, said = ask(health.ready)

    assert (status, said["status"]) == (503, "unavailable")
    assert "database default" in said["failed"]


def test_a_database_that_does_not_answer_is_not_waited_for() -> None:
    """However many ask: one asks it, and the others wait for his answer, for a moment."""
    answers, asked = threading.Event(), list[int]()

    def hang() -> list[str]:
        asked.append(1)
        answers.wait(20)
        return []

    probe = Probe(hang, seconds=0.01)

    assert [probe.failed() for _ in range(3)] == [["no answer in time"]] * 3
    assert len(asked) == 1
    answers.set()
    processes.until(lambda: probe.failed() == [])


def test_a_question_that_hangs_for_long_keeps_nobody_from_asking_anew() -> None:
    """As of a server that vanished without a word: its successor is noticed, and what is said late does not count."""
    asked: list[int] = []
    answers = threading.Event()

    def hang() -> list[str]:
        asked.append(1)
        if len(asked) > 2:
            return []
        answers.wait(20)
        return ["late"]

    probe = Probe(hang, seconds=0.01, hanging=0.05)

    processes.until(lambda: probe.failed() == [])
    answers.set()

    assert len(asked) == 3
    assert [probe.failed() for _ in range(3)] == [[]] * 3


def test_an_answer_is_good_for_a_moment() -> None:
    """Whoever asks often asks the databases once a second."""
    asked: list[int] = []
    probe = Probe(lambda: asked.append(1) or ["database default"], seconds=20)

    assert [probe.failed() for _ in range(3)] == [["database default"]] * 3
    assert len(asked) == 1


def test_a_daemon_touches_a_file_while_somebody_watches_its_jobs(tmp_path: Path) -> None:
    """And removes it at its end: it does not speak for the next process."""
    file = tmp_path / "alive"
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: (processes.until(file.exists), seen.append(True)))
    thread.start()

    call_command("cqrs_relay", "--max-seconds", "0.3", "--alive-file", str(file))
    thread.join()

    assert seen == [True]
    assert not file.exists()


def test_a_file_that_cannot_be_touched_is_told_at_once(tmp_path: Path) -> None:
    """A probe would take the daemon for dead, and have it started again and again."""
    with pytest.raises(CommandError, match=r"--alive-file: .*cannot be touched: No such file"):
        call_command("cqrs_relay", "--alive-file", str(tmp_path / "no" / "alive"))


def test_a_check_that_cannot_look_ends_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitoring tells it from an alarm, which ends with one."""
    monkeypatch.setattr(Outbox._meta, "db_table", "cqrs_gone")

    with pytest.raises(CommandError, match="nobody can tell") as error:
        call_command("cqrs_status", "--check")

    assert error.value.returncode == 2
    with pytest.raises(CommandError, match="the tables are not there yet"):
        call_command("cqrs_status")
