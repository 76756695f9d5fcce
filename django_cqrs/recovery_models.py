"""The table of what consumers know of their brokers from one start to the next."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from django_cqrs.conf import table
from simplecqrs.messages import LONGEST

__all__ = ["Position"]


class Position(models.Model):
    """
    How far a consumer has been in a feed, so that a broker that was emptied or restored is noticed.

    ``server`` is the one on which that was written: another one may not have all that it had.  ``lost`` counts what
    is known to be gone, ``lost_at`` says when that was noticed last.
    """

    id = models.BigAutoField(primary_key=True)
    consumer = models.CharField(max_length=LONGEST)
    broker = models.CharField(max_length=LONGEST)
    feed = models.CharField(max_length=255)
    mark = models.TextField()
    server = models.CharField(max_length=60)
    at = models.DateTimeField(db_default=Now())
    lost = models.BigIntegerField()
    lost_at = models.DateTimeField(null=True)

    class Meta:
        db_table = table("position")
        constraints = [models.UniqueConstraint(fields=["consumer", "broker", "feed"], name=table("position_feed"))]
