"""
The shop's settings.

SHOP_BACKEND chooses what it runs on:

    sqlite        SQLite, relay and consumers are daemons.  Needs nothing else.  The default.
    postgresql    PostgreSQL, Celery beat and workers in place of the relay daemon.

SHOP_BROKER chooses by which broker events travel: ``database``, the default on SQLite, or one of ``shop.brokers``.
"""

import os
from pathlib import Path
from typing import Any

import django

from shop.brokers import broker_settings
from shop.databases import database_from_url

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("SHOP_DATA_DIR", BASE_DIR / "data"))
DATA_DIR.mkdir(parents=True, exist_ok=True)
BACKEND = os.environ.get("SHOP_BACKEND", "sqlite")

SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "for-development-only")
DEBUG = os.environ.get("SHOP_DEBUG", "1") == "1"
ALLOWED_HOSTS = os.environ.get("SHOP_HOSTS", "localhost,127.0.0.1").split(",")
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_cqrs",
    "orders",
    "stock",
    "mailing",
    "reports",
    "checkout",
]
STATIC_URL = "static/"

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "shop" / "templates"],
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

# Where the bank of the checkout keeps its books.
BANK_FOLDER = DATA_DIR / "bank"

# Mails become files, unless SHOP_MAIL says "console" or "smtp".
MAIL = os.environ.get("SHOP_MAIL", "filebased")
MAIL_BACKEND = f"django.core.mail.backends.{MAIL}.EmailBackend"
MAIL_FOLDER = DATA_DIR / "mails"
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {"BACKEND": MAIL_BACKEND, "OPTIONS": {"file_path": MAIL_FOLDER} if MAIL == "filebased" else {}}
    }
else:
    EMAIL_BACKEND = MAIL_BACKEND
    EMAIL_FILE_PATH = MAIL_FOLDER

if BACKEND == "sqlite":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA_DIR / "shop.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",  # wait for the one writer at the start, not in the middle
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    }

if BACKEND == "postgresql":
    DATABASES = {
        "default": database_from_url(os.environ.get("SHOP_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/shop"))
    }
    CELERY_BROKER_URL = os.environ.get("SHOP_REDIS_URL", "redis://127.0.0.1:6379/0")
    CELERY_TASK_IGNORE_RESULT = True
    CELERY_WORKER_CONCURRENCY = 2
    CELERY_BEAT_SCHEDULE = {
        "cqrs-relay": {
            "task": "django_cqrs.relay",
            "schedule": 1.0,
            "options": {"queue": "cqrs", "expires": 5},
        },
        "cqrs-consume": {
            "task": "django_cqrs.consume",
            "args": ["mailing"],
            "schedule": 1.0,
            "options": {"queue": "cqrs", "expires": 5},
        },
    }

BROKER = os.environ.get("SHOP_BROKER", "database" if BACKEND == "sqlite" else "redis")
DJANGO_CQRS: dict[str, Any] = {
    "SOURCE": "shop",
    **broker_settings(BROKER),
    "CONSUMERS": {
        "reports": {"broker": BROKER},  # manage.py cqrs_consume
        "mailing": {"broker": BROKER, "engine": "daemon" if BACKEND == "sqlite" else "celery"},
    },
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        name: {"handlers": ["stderr"], "level": "INFO", "propagate": False} for name in ("simplecqrs", "django_cqrs")
    },
}
