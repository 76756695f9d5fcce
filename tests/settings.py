"""Django's settings for the tests: SQLite in a file, or what CQRS_TEST_DATABASE names."""

from __future__ import annotations

import json
import os
import tempfile
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import django

SECRET_KEY = "for tests only"
USE_TZ = True
DEBUG = False
ROOT_URLCONF = "tests.desk.urls"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
    "django_cqrs",
    "tests.desk",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
#: The test run whose databases are used: a process that a test starts gets it from there.
RUN = os.environ.get("CQRS_TEST_RUN") or str(os.getpid())
IS_CHILD = "CQRS_TEST_RUN" in os.environ
FOLDER = Path(os.environ.get("CQRS_TEST_FOLDER") or tempfile.gettempdir()) / f"cqrs-tests-{RUN}"


def _sqlite(name: str) -> dict[str, object]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = str(FOLDER / f"{name}.sqlite3")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "TEST": {"NAME": path},
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }


def _postgresql(url: str, name: str) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": f"test_{name}_{RUN}" if IS_CHILD else name,
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "TEST": {"NAME": f"test_{name}_{RUN}"},
    }


def _mariadb(url: str, name: str) -> dict[str, object]:
    import_module("pymysql").install_as_MySQLdb()  # a project chooses its driver; this one needs no compiler
    return {
        **_postgresql(url, name),
        "ENGINE": "django.db.backends.mysql",
        "OPTIONS": {"charset": "utf8mb4"},
        "TEST": {"NAME": f"test_{name}_{RUN}", "CHARSET": "utf8mb4"},
    }


def _database(name: str) -> dict[str, object]:
    database = os.environ.get("CQRS_TEST_DATABASE", "sqlite")
    if database == "postgresql":
        return _postgresql(os.environ["CQRS_TEST_POSTGRESQL"], name)
    if database == "mariadb":
        return _mariadb(os.environ["CQRS_TEST_MARIADB"], name)
    return _sqlite(name)


DATABASES = {"default": _database("cqrs"), "audit": _database("cqrs_audit")}
DATABASE_ROUTERS = ["tests.desk.routers.AuditRouter"]
DJANGO_CQRS = {
    "SOURCE": "desk",
    "DATABASES": {"desk.Audit*": "audit"},
    **json.loads(os.environ.get("CQRS_TEST_SETTING", "{}")),
}
LOGGING_CONFIG = None

if django.VERSION >= (6, 1):  # without it, to send a mail is deprecated
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
