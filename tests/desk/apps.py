"""The app of the tests."""

from django.apps import AppConfig


class DeskConfig(AppConfig):
    """The desk."""

    name = "tests.desk"
    label = "desk"
    default_auto_field = "django.db.models.BigAutoField"
