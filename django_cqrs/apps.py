"""What happens when Django starts: handlers are found, checks are registered."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class DjangoCqrsConfig(AppConfig):
    """The app."""

    name = "django_cqrs"
    verbose_name = "CQRS"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import every app's handlers."""
        from django_cqrs import checks
        from django_cqrs.consumers import subscribe_after_migrate

        checks.register_all()
        autodiscover_modules("handlers")
        post_migrate.connect(subscribe_after_migrate, sender=self)
