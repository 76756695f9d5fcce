"""The tables of what goes on: how much was done in each minute, and who works where."""

from __future__ import annotations

from django.db import models

from django_cqrs.conf import table
from simplecqrs.messages import LONGEST

__all__ = ["Tally", "Worker"]


class Tally(models.Model):
    """
    How often something happened in a queue in a minute; all processes add to it.

    Of messages that were done it also tells how many seconds they had waited, all together and the longest.  A row of
    the year 9000 adds up all minutes, for counters that never fall.
    """

    pk = models.CompositePrimaryKey("minute", "box", "queue", "what")
    minute = models.DateTimeField()
    box = models.CharField(max_length=6)
    queue = models.CharField(max_length=LONGEST)
    what = models.CharField(max_length=12)
    number = models.BigIntegerField()
    seconds = models.FloatField()
    longest = models.FloatField()

    class Meta:
        db_table = table("tally")


class Worker(models.Model):
    """
    The heartbeat of one job of one process.

    ``pid`` is 0 for what is done in ticks, by whatever process of a host.  ``age`` is the time that the job has been
    in its step without progress, in seconds; ``trouble`` says for what it pauses.
    """

    pk = models.CompositePrimaryKey("host", "pid", "job")
    host = models.CharField(max_length=LONGEST)
    pid = models.BigIntegerField()
    job = models.CharField(max_length=LONGEST)
    box = models.CharField(max_length=6)
    queue = models.CharField(max_length=LONGEST)
    since = models.DateTimeField()
    at = models.DateTimeField()
    age = models.FloatField()
    trouble = models.TextField()

    class Meta:
        db_table = table("worker")
