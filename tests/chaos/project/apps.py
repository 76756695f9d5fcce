"""The app under fire."""

import os
from importlib import import_module

from django.apps import AppConfig
from django.conf import settings


class ChaosConfig(AppConfig):
    """Counters; what is to go wrong is put in place when Django starts."""

    name = "tests.chaos.project"
    label = "chaos"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Put delays and faults in place; the Celery app, by which commits ring; and sagas."""
        if settings.CELERY_BROKER_URL:
            import_module("tests.chaos.project.celery")
        if os.environ.get("CHAOS_SAGAS"):
            import_module("tests.chaos.sagas.errands").register()
        from tests.chaos.project.faults import install

        install()
