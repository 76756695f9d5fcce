"""Settings of both releases; a process is of one of them."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from simplecqrs import Retry

RELEASE = os.environ["RELEASE"]
SECRET_KEY = "for tests only"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_cqrs",
    "tests.chaos.releases",
    f"tests.chaos.releases.{RELEASE}",
]


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        options = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        }
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path, "OPTIONS": options}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


DATABASES = {"default": _database(os.environ["RELEASES_DATABASE"])}
#: A single attempt: whatever does not wait, but fails, is dead.
ONCE = {"retry": Retry(1)}
DJANGO_CQRS = {"SOURCE": "shop", "CONSUMERS": {"ledger": ONCE, "deferred": ONCE, "sagas": ONCE}}
