"""
The tables of messages: what is pending, parked, scheduled, or was shipped.

Outbox and inbox hold only what is pending and has never failed: a row is deleted when it is done, and moved to the
parked table when it fails.  So the tables that are read all the time stay small.
"""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from django_cqrs.conf import table
from simplecqrs.messages import LONGEST

__all__ = ["TRACEPARENT", "History", "Inbox", "MessageRow", "Outbox", "ParkedInbox", "ParkedOutbox", "Scheduled"]

#: Characters of W3C's header, which has 55; what is longer is cut.
TRACEPARENT = 64


class MessageRow(models.Model):
    """The columns of one message; those that change-data-capture maps are columns of their own."""

    queue = models.CharField(max_length=LONGEST)
    lane = models.SmallIntegerField()
    topic = models.CharField(max_length=LONGEST)
    key = models.CharField(max_length=LONGEST, db_column="order_key")  # KEY is a word of MySQL's
    message_id = models.UUIDField()
    kind = models.CharField(max_length=10)
    name = models.CharField(max_length=LONGEST)
    version = models.IntegerField()
    source = models.CharField(max_length=LONGEST)
    time = models.DateTimeField()
    correlation_id = models.CharField(max_length=LONGEST)
    causation_id = models.CharField(max_length=LONGEST, null=True)
    headers = models.TextField()
    traceparent = models.CharField(max_length=TRACEPARENT, null=True)
    content_type = models.CharField(max_length=LONGEST)
    payload = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True


class Outbox(MessageRow):
    """An event that a broker is still to be told; ``queue`` is the broker's name."""

    id = models.BigAutoField(primary_key=True)

    class Meta:
        db_table = table("outbox")
        indexes = [models.Index(fields=["queue", "lane", "id"], name=table("outbox_lane"))]


class History(MessageRow):
    """An event that its broker has acknowledged; kept for a while, so that it can be sent once more."""

    pk = models.CompositePrimaryKey("shipped_at", "queue", "row")
    row = models.BigIntegerField(db_column="row_id")
    shipped_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = table("history")
        verbose_name_plural = "history"


class Inbox(MessageRow):
    """A message that a consumer is still to handle; ``queue`` is the consumer's name."""

    id = models.BigAutoField(primary_key=True)

    class Meta:
        db_table = table("inbox")
        indexes = [models.Index(fields=["queue", "lane", "id"], name=table("inbox_lane"))]


class ParkedOutbox(MessageRow):
    """An event that its broker refused, or that waits behind one; it has kept its id."""

    id = models.BigIntegerField(primary_key=True)

    class Meta:
        db_table = table("outbox_parked")
        indexes = [models.Index(fields=["queue", "topic", "key", "id"], name=table("outbox_parked_key"))]


class ParkedInbox(MessageRow):
    """A message whose handling failed, or that waits behind one; it has kept its id."""

    id = models.BigIntegerField(primary_key=True)

    class Meta:
        db_table = table("inbox_parked")
        indexes = [models.Index(fields=["queue", "topic", "key", "id"], name=table("inbox_parked_key"))]


class Scheduled(MessageRow):
    """A message that is not due yet; it never enters the tables that are read all the time."""

    id = models.BigAutoField(primary_key=True)
    box = models.CharField(max_length=6)
    due = models.DateTimeField()

    class Meta:
        db_table = table("scheduled")
        indexes = [models.Index(fields=["due", "id"], name=table("scheduled_due"))]
