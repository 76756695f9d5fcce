"""Settings of the project under fire; where its servers are comes from the environment."""

from __future__ import annotations

import json
import os
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from simplecqrs import Retry
from tests.chaos.project.clock import set_wrong

set_wrong()
SECRET_KEY = "for tests only"
USE_TZ = True
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.chaos.project.views"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_cqrs", "tests.chaos.project"]
DATABASE_ROUTERS = ["tests.chaos.project.routers.AuditRouter"]
REDIS = os.environ.get("CHAOS_REDIS", "")
#: Brokers of any kind, as ``tests.chaos.kinds`` writes them.
BROKERS = json.loads(os.environ.get("CHAOS_BROKERS", "{}"))
BROKER = next(iter(BROKERS), "redis" if REDIS else "database")
#: Of the relay, and of the handlers.
RETRY = Retry(
    int(os.environ.get("CHAOS_ATTEMPTS", "20")),
    first=float(os.environ.get("CHAOS_FIRST", "0.05")),
    cap=float(os.environ.get("CHAOS_CAP", "0.2")),
)
ENGINE = os.environ.get("CHAOS_ENGINE", "daemon")
#: OFF: what is committed outlives its process, but not the machine.
SYNCHRONOUS = os.environ.get("CHAOS_SYNCHRONOUS", "FULL")


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        options = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous={SYNCHRONOUS}",
        }
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path, "OPTIONS": options, "ATOMIC_REQUESTS": True}
    server: dict[str, object] = {
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "ATOMIC_REQUESTS": True,
    }
    if parts.scheme == "mysql":
        import_module("pymysql").install_as_MySQLdb()
        return {**server, "ENGINE": "django.db.backends.mysql", "OPTIONS": {"charset": "utf8mb4"}}
    return {**server, "ENGINE": "django.db.backends.postgresql"}


LEDGER = {"broker": BROKER, "engine": ENGINE, "timeout": float(os.environ.get("CHAOS_TIMEOUT", "300"))}
if together := int(os.environ.get("CHAOS_TOGETHER", "0")):
    LEDGER |= {"batch": together, "lanes": 1}  # so that a batch has several keys
DATABASES = {alias: _database(os.environ[f"CHAOS_{alias.upper()}"]) for alias in ("default", "audit")}
DJANGO_CQRS: dict[str, Any] = {
    "SOURCE": "chaos",
    "RELAY_BATCH": int(os.environ.get("CHAOS_BATCH", "50")),
    "RELAY_RETRY": RETRY,
    "DATABASES": {"chaos.AuditBump": "audit"},
    "CONSUMERS": {
        "ledger": LEDGER,
        "deferred": {"engine": ENGINE},
    },
}
if direct := os.environ.get("CHAOS_DIRECT"):  # past a pooler
    DATABASES["direct"] = _database(direct)
    DJANGO_CQRS["LISTEN_ALIAS"] = {"default": "direct"}
if interval := os.environ.get("CHAOS_RECOVERY_INTERVAL"):
    DJANGO_CQRS["SAGAS"] = {"interval": float(interval), "take_overs": Retry(1000, first=0.01, cap=0.1)}
if keep := os.environ.get("CHAOS_KEEP_HISTORY"):
    DJANGO_CQRS["KEEP_HISTORY"] = keep
if REDIS:
    DJANGO_CQRS["BROKERS"] = {
        "redis": {
            "BACKEND": "tests.chaos.project.brokers.ChaosRedis",
            "OPTIONS": {"url": REDIS, "prefix": os.environ["CHAOS_PREFIX"]},
        }
    }
    DJANGO_CQRS["ROUTES"] = {"*": "redis"}
if BROKERS:
    DJANGO_CQRS |= {"BROKERS": BROKERS, "ROUTES": {"*": BROKER}}
if second := os.environ.get("CHAOS_SECOND"):
    DJANGO_CQRS["BROKERS"]["second"] = {
        "BACKEND": "tests.chaos.project.brokers.ChaosRedis",
        "OPTIONS": {"url": second, "prefix": f"{os.environ['CHAOS_PREFIX']}second:"},
    }
    DJANGO_CQRS["ROUTES"] = {"*": ["redis", "second"]}
if ENGINE == "django-tasks":
    INSTALLED_APPS.append("django_tasks_db")
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend", "QUEUES": ["cqrs"]}}
    DJANGO_CQRS["TASKS_QUEUE"] = "cqrs"
CELERY_BROKER_URL = os.environ.get("CHAOS_CELERY", "")
CELERY_TASK_DEFAULT_QUEUE = "cqrs"
CELERY_BEAT_SCHEDULE = {
    name: {"task": f"django_cqrs.{name}", "schedule": 1.0, "options": {"queue": "cqrs", "expires": 5}}
    for name in ("relay", "consume")
}
