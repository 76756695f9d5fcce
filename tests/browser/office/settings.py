"""Django's settings for the office, which gunicorn serves: a database of its own in OFFICE_FOLDER."""

from __future__ import annotations

import os
from pathlib import Path

SECRET_KEY = "for tests only"
USE_TZ = True
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.browser.office.views"
WSGI_APPLICATION = "tests.browser.office.wsgi.application"
# It would gather events until it has enough to compress.
MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_cqrs",
    "tests.browser.office",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(Path(os.environ["OFFICE_FOLDER"]) / "office.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL"},
    }
}
