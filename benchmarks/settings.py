"""Django's settings for the benchmarks: PostgreSQL and Redis, where ``scripts/services env`` says."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

_postgresql = urlsplit(os.environ.get("CQRS_TEST_POSTGRESQL", ""))

SECRET_KEY = "for benchmarks only"
USE_TZ = True
DEBUG = False
INSTALLED_APPS = ["django.contrib.contenttypes", "django_cqrs", "benchmarks"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("CQRS_BENCH_DATABASE", ""),
        "USER": _postgresql.username or "",
        "PASSWORD": _postgresql.password or "",
        "HOST": _postgresql.hostname or "",
        "PORT": _postgresql.port or "",
    }
}
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
    "CONSUMERS": {"counting": {"broker": "streams", "topics": ["Counted"]}},
}
