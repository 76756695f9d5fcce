"""What these tests share."""

from tests.desk.fixtures import committed, django_db_setup, project

__all__ = ["committed", "django_db_setup", "project"]
