"""Django's settings for the benchmarks: the databases and Redis, where ``scripts/services env`` says."""

from __future__ import annotations

import os
from importlib import import_module
from urllib.parse import urlsplit

__all__ = ["DJANGO_CQRS"]


def _server(url: str, engine: str, **others: object) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": os.environ.get("CQRS_BENCH_DATABASE", ""),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        **others,
    }


def _databases() -> dict[str, dict[str, object]]:
    """Return PostgreSQL, which all are measured on, and those that the relay is measured on besides."""
    found = {
        "default": _server(os.environ.get("CQRS_TEST_POSTGRESQL", ""), "postgresql"),
        "sqlite": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("CQRS_BENCH_SQLITE", ":memory:"),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
            },
        },
    }
    if url := os.environ.get("CQRS_TEST_MARIADB"):
        import_module("pymysql").install_as_MySQLdb()
        found["mariadb"] = _server(url, "mysql", OPTIONS={"charset": "utf8mb4"})
    if instead := os.environ.get("CQRS_BENCH_DEFAULT"):
        found["default"] = found.pop(instead)
    return found


SECRET_KEY = "for benchmarks only"
USE_TZ = True
DEBUG = False
ROOT_URLCONF = "benchmarks.urls"
STATIC_URL = "static/"
ALLOWED_HOSTS = ["testserver"]
INSTALLED_APPS = [
    *(f"django.contrib.{name}" for name in ("contenttypes", "auth", "sessions", "messages", "admin")),
    "django_cqrs",
    "benchmarks",
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
DATABASES = _databases()
LOGGING_CONFIG = None
DJANGO_CQRS = {
    "SOURCE": "bench",
    "BROKERS": {
        "streams": {
            "BACKEND": "simplecqrs.brokers.redis.RedisStreams",
            "OPTIONS": {
                "url": os.environ.get("CQRS_TEST_REDIS", "redis://"),
                "prefix": os.environ.get("CQRS_BENCH_PREFIX", "bench:"),
            },
        }
    },
    "ROUTES": {"*": "streams"},
    "CONSUMERS": {
        "deferred": {"engine": os.environ.get("CQRS_BENCH_ENGINE", "daemon")},
        "counting": {"broker": "streams", "topics": ["Counted"]},
        "together": {"broker": "streams", "topics": ["CountedTogether"], "batch": 50},
        "letting": {"broker": "streams", "topics": ["Let"]},
        "letting-together": {"broker": "streams", "topics": ["LetTogether"], "batch": 50},
    },
}
