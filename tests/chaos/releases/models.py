"""What was told, and what came of it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Fact(models.Model):
    """Something about an order, with its number among the facts of that order."""

    objects: ClassVar[models.Manager[Fact]]  # type: ignore[assignment]

    id = models.BigAutoField(primary_key=True)
    what = models.CharField(max_length=20)
    key = models.CharField(max_length=40)
    number = models.IntegerField()
    release = models.CharField(max_length=10)

    class Meta:
        abstract = True


class Told(Fact):
    """Committed with what was published or deferred, or with the saga that was begun."""


class Done(Fact):
    """Written by a handler or a step."""
