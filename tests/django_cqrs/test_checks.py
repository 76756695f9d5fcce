"""What manage.py check says of a project that cannot work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import frozen
from django.core import checks

import simplecqrs
from django_cqrs import tracing
from django_cqrs.brokers import broker
from django_cqrs.databases.checks import check_schemas
from simplecqrs import Command, NotificationEvent
from simplecqrs.containers import Provider
from tests.desk.project import Project

REDIS = "simplecqrs.brokers.redis.RedisStreams"
MEMORY = {"BACKEND": "simplecqrs.memory.MemoryBroker"}


class Clock:
    """Something that a handler needs."""


@frozen
class Tick(Command[None]):
    """A command."""


@frozen
class Ticked(NotificationEvent, topic="clock"):
    """An event."""


clocks = Provider({Clock: Clock})


def configure(settings: Any, **more: Any) -> None:
    """Add to the setting DJANGO_CQRS."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, **more}


def told(*ids: str) -> list[str]:
    """Return what the checks with these ids say."""
    return [str(message.msg) for message in checks.run_checks(tags=["cqrs"]) if not ids or message.id in ids]


def test_a_project_that_can_work_passes() -> None:
    """Nothing is said of the desk."""
    assert checks.run_checks(tags=["cqrs"]) == []


def test_what_is_wrong_in_the_setting_is_an_error(settings: Any) -> None:
    """All of it; the other checks wait until that is mended."""
    configure(settings, SAUCE="x", ROUTES={"a": ["nowhere"]}, MEDIATOR="no.where")

    assert told() == [
        "DJANGO_CQRS: unknown key 'SAUCE'; did you mean SOURCE?",
        "ROUTES['a']: there is no broker 'nowhere'",
        "DJANGO_CQRS: 'no.where' cannot be imported: No module named 'no'",
    ]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"BROKERS": {"a": {"BACKEND": "no.such.Broker"}}}, "BROKERS['a']: 'no.such.Broker' cannot be imported"),
        ({"MIDDLEWARES": ["tests.desk.nowhere"]}, "'tests.desk.nowhere' cannot be imported"),
        ({"CONTAINER": "tests.desk.nowhere"}, "'tests.desk.nowhere' cannot be imported"),
        ({"CODEC": "simplecqrs.codec.nowhere"}, "'simplecqrs.codec.nowhere' cannot be imported"),
        ({"MEDIATOR": "tests.desk.models.Ticket"}, "MEDIATOR: 'tests.desk.models.Ticket' is no DjangoMediator"),
    ],
    ids=["broker", "middleware", "container", "codec", "mediator"],
)
def test_what_cannot_be_imported_is_an_error(settings: Any, more: dict[str, Any], complaint: str) -> None:
    """With the path, and where it is named."""
    configure(settings, **more)

    assert [complaint in said for said in told("cqrs.E002")] == [True]


def test_tracing_without_its_library_is_told_by_its_setting(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what to install."""
    settings.DJANGO_CQRS = {"TRACING": True}
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    tracing._spans.cache_clear()

    assert told("cqrs.E003") == [
        "DJANGO_CQRS: TRACING needs a library that is not installed: pip install 'simplecqrs[otel]'"
    ]


def test_what_is_no_codec_is_an_error(settings: Any) -> None:
    """It says what is missing."""
    configure(settings, CODECS={"a": "tests.desk.models.Ticket"})

    [said] = told("cqrs.E003")
    assert said == "DJANGO_CQRS: 'tests.desk.models.Ticket' is no codec, it has no content_type, encode, decode"


def test_a_broker_that_does_not_take_its_options_is_an_error(settings: Any) -> None:
    """It is made, but not called."""
    configure(settings, BROKERS={"events": {"BACKEND": REDIS, "OPTIONS": {"colour": "red"}}})

    [said] = told("cqrs.E003")
    assert "BROKERS['events']" in said
    assert "colour" in said


def test_a_broker_whose_library_is_missing_is_an_error_that_names_the_extra(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how to install it."""
    for name in [name for name in sys.modules if name == "redis" or name.startswith(("redis.", "simplecqrs.brokers."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delattr(simplecqrs.brokers, "redis", raising=False)
    configure(settings, BROKERS={"events": {"BACKEND": REDIS, "OPTIONS": {"url": "redis://127.0.0.1:1/0"}}})

    [said] = told("cqrs.E002", "cqrs.E003")
    assert "pip install 'simplecqrs[redis]'" in said


def test_a_missing_dependency_is_an_error_until_a_container_makes_it(project: Project, settings: Any) -> None:
    """It names handler, parameter, type and cure."""

    def tick(command: Tick, *, clock: Clock) -> None:
        """Need a clock."""

    project.registry.add(Tick, tick)
    [said] = told("cqrs.E004")
    assert "tick" in said
    assert "clock: Clock, which nothing provides; name a container that makes Clock in CONTAINER" in said

    configure(settings, CONTAINER=f"{__name__}.clocks")
    assert told("cqrs.E004") == []


def test_a_consumer_without_handlers_is_an_error(settings: Any) -> None:
    """It would wait for ever, and its messages with it."""
    configure(settings, CONSUMERS={"mailing": {}, "tally": {}, "deferred": {}})

    [said] = told()
    assert said.startswith("the consumer 'mailing' has no handlers; write one with @handles(..., consumer='mailing')")


def test_a_consumer_that_waits_at_the_wrong_broker_is_warned_of(settings: Any) -> None:
    """A stranger might send it, so it is no error."""
    configure(settings, BROKERS={"events": MEMORY}, ROUTES={"tickets": ["events"]})

    [said] = told()
    assert said == "the consumer 'tally' reads 'tickets' from 'database', but this project sends it to events"

    configure(settings, CONSUMERS={"tally": {"broker": "events"}})
    assert told() == []


def test_a_command_without_a_handler_is_warned_of(project: Project) -> None:
    """Of the project's apps; what tests and libraries define is not looked at."""
    said = told("cqrs.W007")

    assert "tests.desk.messages.OpenTicket has no handler" in said
    assert not any("Tick" in text for text in said if "Ticket" not in text)


def test_sqlite_that_does_not_begin_immediate_is_warned_of(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cure; only where there are outboxes."""
    for alias in ("default", "audit"):
        monkeypatch.setitem(settings.DATABASES[alias], "ENGINE", "django.db.backends.sqlite3")
        monkeypatch.setitem(settings.DATABASES[alias], "OPTIONS", {"timeout": 20})
    configure(settings, DATABASES={})
    [message] = [m for m in checks.run_checks(tags=["cqrs"]) if m.id == "cqrs.W008"]
    assert "DATABASES['default']" in message.msg
    assert "'transaction_mode': 'IMMEDIATE'" in str(message.hint)

    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", {"transaction_mode": "IMMEDIATE"})
    assert told("cqrs.W008") == []


@pytest.mark.parametrize("level", ["repeatable read", "SERIALIZABLE", None])
def test_mysql_that_reads_what_is_old_is_an_error(
    settings: Any, monkeypatch: pytest.MonkeyPatch, level: str | None
) -> None:
    """MariaDB is the same engine; None leaves it to the server, whose default is wrong."""
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.mysql")
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", {"isolation_level": level})
    [said] = told("cqrs.E009")
    assert f"the isolation level is {level or 'left to the server'}" in said

    for good in ({}, {"isolation_level": "READ COMMITTED"}):
        monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", good)
        assert told("cqrs.E009") == []


@pytest.mark.django_db
def test_a_server_without_skip_locked_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked when Django is about to talk to it; a plain check opens no connection."""
    server = SimpleNamespace(
        vendor="mysql",
        mysql_is_mariadb=True,
        mysql_version=(10, 5, 27),
        features=SimpleNamespace(has_select_for_update_skip_locked=False),
    )
    assert checks.run_checks(tags=["cqrs"], databases=["default"]) == []
    monkeypatch.setattr("django_cqrs.databases.checks.connections", {"default": server})

    assert [message for message in checks.run_checks() if message.id == "cqrs.E010"] == []
    [message] = checks.run_checks(tags=["cqrs"], databases=["default", "other"])
    assert (message.id, "MariaDB 10.5.27 has no SKIP LOCKED" in message.msg) == ("cqrs.E010", True)


def test_brokers_are_made_once_and_again_when_a_test_changes_the_setting(settings: Any) -> None:
    """One object per name, in a thread."""
    configure(settings, BROKERS={"events": MEMORY})
    first = broker("events")
    assert broker("events") is first

    configure(settings, BROKERS={"events": {**MEMORY}}, SOURCE="x")
    assert broker("events") is not first


# what stops Django from starting

PROJECT = {
    "settings.py": """
        SECRET_KEY = "x"
        INSTALLED_APPS = ["django_cqrs", "shop"]
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "x.sqlite3"}}
        USE_TZ = True
    """,
    "shop/__init__.py": "",
    "shop/handlers.py": """
        from attrs import frozen
        from simplecqrs import Command, handles

        @frozen
        class Place(Command[int]):
            what: str

        @handles(Place)
        def place(command: Place) -> int:
            return 1
    """,
}


def check(folder: Path, more: str = "", **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run manage.py check on a project of its own, with something added to its handlers."""
    for name, text in PROJECT.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(line[8:] for line in text.splitlines()) + "\n")
    with (folder / "shop/handlers.py").open("a") as handlers:
        handlers.write(more)
    with (folder / "settings.py").open("a") as file:
        file.write(f"DJANGO_CQRS = {settings!r}\n")
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "django", "check", "--fail-level", "ERROR"], cwd=folder, capture_output=True, text=True,
        env={"PYTHONPATH": f"{folder}:{root}", "DJANGO_SETTINGS_MODULE": "settings"}, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.processes
@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (
            "@handles(Place)\ndef place_again(command: Place) -> int:\n    return 2\n",
            "DuplicateHandler: Place is handled by function shop.handlers.place",
        ),
        (
            "class Late(Command[int]): ...\n@handles(Late)\nasync def late(command: Late) -> int:\n    return 1\n",
            "async",
        ),
        (
            "class Wide(Command[int]): ...\n@handles(Wide)\ndef wide(a: Wide, publish, third) -> int:\n    return 1\n",
            "third",
        ),
    ],
    ids=["duplicate", "async", "signature"],
)
def test_handlers_that_cannot_work_keep_django_from_starting(tmp_path: Path, more: str, complaint: str) -> None:
    """The last line names the culprit."""
    done = check(tmp_path, more)

    assert done.returncode != 0
    assert complaint in done.stderr.splitlines()[-1]


@pytest.mark.processes
def test_check_ends_with_an_error_if_the_setting_is_wrong(tmp_path: Path) -> None:
    """As for every error of Django's own; a warning alone lets it pass."""
    wrong = check(tmp_path, SAUCE="x")
    assert wrong.returncode != 0
    assert "(cqrs.E001) DJANGO_CQRS: unknown key 'SAUCE'; did you mean SOURCE?" in wrong.stderr

    warned = check(tmp_path)
    assert warned.returncode == 0
    assert "(cqrs.W008)" in warned.stderr


def test_schemas_of_a_database_that_has_none_are_an_error(settings: Any) -> None:
    """And what names functions of tenants can be imported."""
    configure(settings, SCHEMAS="no.names", TENANT="no.where", SCHEMA_OF="not.there")
    [error] = check_schemas({"ENGINE": "django.db.backends.sqlite3"})

    assert len(told("cqrs.E002")) == 3
    assert error.msg == "SCHEMAS names schemas of PostgreSQL, and DATABASES['default'] is django.db.backends.sqlite3"
    assert list(check_schemas({"ENGINE": "django_tenants.postgresql_backend"})) == []
