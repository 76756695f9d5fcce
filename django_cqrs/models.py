"""The tables: all of them, and here what is remembered of messages, commands, consumers, releases and lanes."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from django_cqrs.conf import table
from django_cqrs.letter_models import Action, Blocked, Dead, Operations
from django_cqrs.message_models import History, Inbox, Outbox, ParkedInbox, ParkedOutbox, Scheduled
from django_cqrs.pulse_models import Tally, Worker
from django_cqrs.recovery_models import Position
from django_cqrs.saga_models import Saga, SagaEntry, SagaMail, SagaWait
from django_cqrs.size_models import Size
from simplecqrs.messages import LONGEST

__all__ = [
    "Action",
    "Blocked",
    "Dead",
    "History",
    "Idempotency",
    "Inbox",
    "Lane",
    "LaneMark",
    "Operations",
    "Outbox",
    "ParkedInbox",
    "ParkedOutbox",
    "Position",
    "Release",
    "Saga",
    "SagaEntry",
    "SagaMail",
    "SagaWait",
    "Scheduled",
    "Seen",
    "Size",
    "Subscription",
    "Tally",
    "Worker",
]


class Seen(models.Model):
    """A message that has passed a consumer's door; the crc tells whether a second one is the same."""

    pk = models.CompositePrimaryKey("consumer", "source", "message_id")
    consumer = models.CharField(max_length=LONGEST)
    source = models.CharField(max_length=LONGEST)
    message_id = models.UUIDField()
    crc = models.BigIntegerField()
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = table("seen")
        indexes = [models.Index(fields=["seen_at"], name=table("seen_at"))]


class Idempotency(models.Model):
    """
    A command that was sent under an idempotency key, and its answer; committed with what it did.

    ``digest`` is the SHA-256 of the key, so that keys of any characters are told apart by every database.
    """

    digest = models.CharField(max_length=64, primary_key=True)
    name = models.CharField(max_length=LONGEST)
    fingerprint = models.CharField(max_length=64)
    answer = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = table("idempotency")
        indexes = [models.Index(fields=["created_at"], name=table("idempotency_at"))]
        verbose_name_plural = "idempotency keys"


class Subscription(models.Model):
    """Which consumer wants which topic from which broker, and how many lanes its inbox has."""

    id = models.BigAutoField(primary_key=True)
    broker = models.CharField(max_length=LONGEST)
    consumer = models.CharField(max_length=LONGEST)
    topic = models.CharField(max_length=LONGEST)
    lanes = models.SmallIntegerField()

    class Meta:
        db_table = table("subscription")
        constraints = [
            models.UniqueConstraint(fields=["consumer", "broker", "topic"], name=table("subscription_topic"))
        ]


class Release(models.Model):
    """
    What a release of the project has handlers for, in the order in which releases were first seen.

    So an older one that runs beside it knows what it lacks itself, and what it is not to drop.
    """

    id = models.BigAutoField(primary_key=True)
    fingerprint = models.CharField(max_length=64, unique=True)
    handles = models.TextField()
    since = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = table("release")


class Lane(models.Model):
    """A lane; on databases without advisory locks this row is the lock."""

    id = models.BigAutoField(primary_key=True)
    box = models.CharField(max_length=6)
    queue = models.CharField(max_length=LONGEST)
    lane = models.SmallIntegerField()

    class Meta:
        db_table = table("lane")
        constraints = [models.UniqueConstraint(fields=["box", "queue", "lane"], name=table("lane_place"))]


class LaneMark(models.Model):
    """
    Who last worked a lane, and the row that it was begun with; 0 where it was left in order.

    Not in ``Lane``, since the marks are written by a second connection while the first one holds the lock.
    """

    id = models.BigAutoField(primary_key=True)
    box = models.CharField(max_length=6)
    queue = models.CharField(max_length=LONGEST)
    lane = models.SmallIntegerField()
    owner = models.BigIntegerField()
    head = models.BigIntegerField()
    starts = models.IntegerField()

    class Meta:
        db_table = table("lane_mark")
        constraints = [models.UniqueConstraint(fields=["box", "queue", "lane"], name=table("lane_mark_place"))]
