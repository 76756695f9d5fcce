"""The table of how large all tables were, from which one knows how fast they grow."""

from __future__ import annotations

from django.db import models

from django_cqrs.conf import table
from simplecqrs.messages import LONGEST

__all__ = ["Size"]


class Size(models.Model):
    """How many bytes a table took at a time, with its indexes; the empty name stands for the whole database."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    name = models.CharField(max_length=LONGEST)
    bytes = models.BigIntegerField()

    class Meta:
        db_table = table("size")
        indexes = [models.Index(fields=["name", "at"], name=table("size_at"))]
