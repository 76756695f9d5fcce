"""The example project works: its own tests, under its own settings, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def manage(*arguments: str, folder: Path, **environment: str) -> None:
    """Run ``manage.py`` of the example project, or another program in its place; fail with what it said."""
    program = arguments if arguments[0].endswith(".py") else ("manage.py", *arguments)
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    inherited = {name: value for name, value in inherited.items() if not name.startswith("SHOP_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", *program],
        cwd=ROOT / "example_project",
        env={**inherited, "PYTHONPATH": str(ROOT), "SHOP_DATA_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if done.returncode:
        pytest.fail(f"manage.py {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")


def test_its_own_tests_pass(tmp_path: Path) -> None:
    """What readers copy from works as it stands."""
    manage("test", folder=tmp_path)


def test_its_migrations_are_complete(tmp_path: Path) -> None:
    """A fresh clone gets the tables that the models need."""
    manage("makemigrations", "--check", "--dry-run", folder=tmp_path)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_its_wiring_is_right(tmp_path: Path, backend: str) -> None:
    """Both settings pass Django's checks, warnings included."""
    manage("check", "--fail-level", "WARNING", folder=tmp_path, SHOP_BACKEND=backend)


@contextmanager
def _database(folder: Path) -> Iterator[str]:
    yield ""


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    pytest.importorskip("redis")
    from tests.redis_server import redis_server

    with redis_server(folder) as server:
        yield server.url


@contextmanager
def _azure(folder: Path) -> Iterator[str]:
    pytest.importorskip("azure.servicebus")
    from tests.service_bus.peer import service_bus

    with service_bus() as peer:
        peer.store.create("orders", "mailing", "reports")
        yield peer.url


@contextmanager
def _rabbitmq(folder: Path) -> Iterator[str]:
    pytest.importorskip("amqp")
    from tests.rabbitmq_server import rabbitmq_server

    with rabbitmq_server() as server:
        yield server.url


@contextmanager
def _kafka(folder: Path) -> Iterator[str]:
    pytest.importorskip("confluent_kafka")
    from tests.kafka_cluster import kafka_cluster

    with kafka_cluster() as cluster:
        yield cluster.servers


#: By the value of SHOP_BROKER: gives the URL of a server as long as its context lasts.
BROKERS: dict[str, Callable[[Path], AbstractContextManager[str]]] = {
    "database": _database,
    "redis": _redis,
    "redis-pubsub": _redis,
    "rabbitmq": _rabbitmq,
    "kafka": _kafka,
    "azure": _azure,
}
MARKS = {
    "redis": [pytest.mark.services, pytest.mark.redis],
    "redis-pubsub": [pytest.mark.services, pytest.mark.redis],
    "rabbitmq": [pytest.mark.services, pytest.mark.rabbitmq],
    "kafka": [pytest.mark.services, pytest.mark.kafka],
    "azure": [pytest.mark.services],
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in BROKERS])
def test_it_runs_unchanged_on_each_broker(tmp_path: Path, name: str) -> None:
    """One variable chooses; orders have their effects in reports and mails once, whoever carries their events."""
    with BROKERS[name](tmp_path) as url:
        place = {"SHOP_BROKER_URL": url} if url else {}
        manage(str(ROOT / "tests" / "shop_orders.py"), folder=tmp_path, SHOP_BROKER=name, **place)


def test_a_broker_that_it_does_not_know_is_refused(tmp_path: Path) -> None:
    """The error says which there are."""
    with pytest.raises(pytest.fail.Exception, match=r"SHOP_BROKER is 'pigeons'; it can be database, redis"):
        manage("check", folder=tmp_path, SHOP_BROKER="pigeons")
