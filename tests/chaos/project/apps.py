"""The app under fire."""

from django.apps import AppConfig


class ChaosConfig(AppConfig):
    """Counters; what is to go wrong is put in place when Django starts."""

    name = "tests.chaos.project"
    label = "chaos"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Put delays and faults in place."""
        from tests.chaos.project.faults import install

        install()
