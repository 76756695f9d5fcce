"""
What producer and consumers write; the checker reads it afterwards.

The column of a key is ``name``: ``key`` is a word of MariaDB's own.
"""

import time

from django.db import models


class Counter(models.Model):
    """A producer's aggregate; its row is locked before an event is published, so that a key has one writer."""

    key = models.CharField(max_length=50, primary_key=True, db_column="name")
    version = models.IntegerField(default=0)


class Deed(models.Model):
    """A business row, one for each event, written in the transaction that publishes the event."""

    deed = models.CharField(max_length=40)
    key = models.CharField(max_length=50, db_column="name")
    version = models.IntegerField()
    at = models.FloatField(default=time.time)


class AuditDeed(models.Model):
    """The same on another alias."""

    deed = models.CharField(max_length=40)


class Page(models.Model):
    """Refers to a counter, by a constraint that is looked at when the transaction commits."""

    counter = models.ForeignKey(Counter, on_delete=models.CASCADE)


class Effect(models.Model):
    """A read model that is not idempotent, so that an event handled twice shows."""

    consumer = models.CharField(max_length=20)
    key = models.CharField(max_length=50, db_column="name")
    n = models.IntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["consumer", "key"], name="chaos_effect_once"),)


class Handled(models.Model):
    """The handlers' journal: one row for each call, in the transaction of its effect; the id is the sequence."""

    consumer = models.CharField(max_length=20)
    event_id = models.UUIDField()
    deed = models.CharField(max_length=40)
    key = models.CharField(max_length=50, db_column="name")
    version = models.IntegerField()
    at = models.FloatField(default=time.time)


class Door(models.Model):
    """A batch that met duplicates at the door of an inbox, written in the batch's own transaction."""

    consumer = models.CharField(max_length=20)
    new = models.IntegerField()
    seen = models.IntegerField()


class SagaEffect(models.Model):
    """What a saga's step did, or undid, in the transaction of the step; no constraint, so that a double one shows."""

    saga = models.UUIDField()
    place = models.IntegerField()
    what = models.CharField(max_length=20)
    n = models.IntegerField()
