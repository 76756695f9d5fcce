"""
What the demo runs on: fresh databases for each run, and the processes that each needs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import getpid
from pathlib import Path

from carriers import carrier
from environments import clean
from places import postgresql_database, redis_database
from stage import Stage


class Sqlite:
    """
    SQLite; relay and consumers are daemons.
    """

    def __init__(self) -> None:
        self.carrier = carrier("database")
        self.title = f"SQLite, {self.carrier.title}; relay and consumers are daemons"

    @contextmanager
    def fresh(self, folder: Path) -> Iterator[Mapping[str, str]]:
        """
        Give the environment variables that the shop's processes need.
        """
        with self.carrier.fresh() as place:
            yield environment(folder, SHOP_BACKEND="sqlite", **place)

    def start(self, stage: Stage) -> None:
        stage.start("relay", "manage.py", "cqrs_relay")
        stage.start("consumer reports", "manage.py", "cqrs_consume", "reports")
        stage.start("consumer mailing", "manage.py", "cqrs_consume", "mailing")
        stage.start("consumer sagas", "manage.py", "cqrs_consume", "sagas")

    def kill_relay(self, stage: Stage) -> None:
        stage.kill("relay")

    def start_relay(self, stage: Stage) -> None:
        stage.start("relay")
        stage.say("started again: relay")


class Full:
    """
    PostgreSQL and Redis; Celery's beat and workers relay and send mails, the reports' consumers are daemons.
    """

    def __init__(self) -> None:
        self.carrier = carrier("redis")
        self.title = (
            f"PostgreSQL, {self.carrier.title}; Celery's beat and a worker with two children relay and send mails"
        )

    @contextmanager
    def fresh(self, folder: Path) -> Iterator[Mapping[str, str]]:
        with postgresql_database() as database, redis_database() as (url, _), self.carrier.fresh() as place:
            yield environment(
                folder, SHOP_BACKEND="postgresql", SHOP_DATABASE_URL=database, SHOP_REDIS_URL=url, **place
            )

    def start(self, stage: Stage) -> None:
        celery = ("-m", "celery", "-A", "shop")
        schedule = str(stage.folder / "celerybeat-schedule")
        stage.start(
            "celery worker", *celery, "worker", "-Q", "cqrs", "-c", "2", "-l", "info", "-n", f"demo{getpid()}@%h"
        )
        stage.start("celery beat", *celery, "beat", "-s", schedule, "--pidfile", "")
        stage.start("consumer reports", "manage.py", "cqrs_consume", "reports")
        stage.start("second consumer reports", "manage.py", "cqrs_consume", "reports")
        stage.start("consumer sagas", "manage.py", "cqrs_consume", "sagas")

    def kill_relay(self, stage: Stage) -> None:
        stage.kill_child("celery worker")

    def start_relay(self, stage: Stage) -> None:
        stage.wait_for(lambda: len(stage.children("celery worker")) >= 2, "another child of the celery worker")
        stage.say("the celery worker has another child by now")


def environment(folder: Path, **variables: str) -> dict[str, str]:
    ours = {name: value for name, value in clean().items() if not name.startswith("SHOP_")}
    return {**ours, "SHOP_DATA_DIR": str(folder / "data"), "SHOP_DEBUG": "0", "PYTHONUNBUFFERED": "1", **variables}
