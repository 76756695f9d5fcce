"""
The tables.

Outbox and inbox hold only what is pending and has never failed: a row is deleted when it is done, and moved to the
parked table when it fails.  So the tables that are read all the time stay small.
"""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from django_cqrs.append_only import Kept
from django_cqrs.conf import table
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


class Blocked(models.Model):
    """
    A key that has something parked or dead; this row is the schedule of its retries.

    ``slot`` is 0 for a key; what has no key blocks nobody, and its ``slot`` is its own id.  ``next_at`` is NULL
    while the key waits for an operator.  ``waits_since`` is from when on its head has waited for another release.
    """

    id = models.BigAutoField(primary_key=True)
    box = models.CharField(max_length=6)
    queue = models.CharField(max_length=LONGEST)
    lane = models.SmallIntegerField()
    topic = models.CharField(max_length=LONGEST)
    key = models.CharField(max_length=LONGEST, db_column="order_key")  # KEY is a word of MySQL's
    slot = models.BigIntegerField()
    head = models.BigIntegerField()
    attempts = models.IntegerField()
    next_at = models.DateTimeField(null=True)
    error = models.TextField()
    since = models.DateTimeField(db_default=Now())
    waits_since = models.DateTimeField(null=True)

    class Meta:
        db_table = table("blocked")
        constraints = [
            models.UniqueConstraint(fields=["box", "queue", "topic", "key", "slot"], name=table("blocked_key"))
        ]
        indexes = [
            models.Index(fields=["box", "queue", "lane", "next_at"], name=table("blocked_due")),
            models.Index(fields=["waits_since"], name=table("blocked_waits")),
        ]
        verbose_name = "blocked key"
        permissions = [("hasten_blocked", "Can try blocked keys now")]


class Dead(MessageRow):
    """A message that was given up, or that could not be read, with its bytes."""

    id = models.BigAutoField(primary_key=True)
    box = models.CharField(max_length=6)
    row = models.BigIntegerField(null=True, db_column="row_id")
    message_id = models.UUIDField(null=True)  # type: ignore[assignment]
    time = models.DateTimeField(null=True)  # type: ignore[assignment]
    attempts = models.IntegerField()
    reason = models.TextField()
    holds = models.BooleanField()
    since = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = table("dead")
        indexes = [
            models.Index(fields=["box", "queue", "id"], name=table("dead_queue")),
            models.Index(fields=["since"], name=table("dead_since")),
        ]
        verbose_name = "dead letter"
        permissions = [
            ("retry_dead", "Can retry dead letters"),
            ("skip_dead", "Can skip dead letters"),
            ("view_payload", "Can see what dead letters and sagas hold"),
        ]


class Operations(Dead):
    """The page of the admin that shows how everything goes; it has no table of its own, but a permission."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = verbose_name_plural = "operations"


class Action(Kept):
    """
    What an operator has done to a dead letter, a blocked key or a saga: who, when, what and why.

    ``number`` is that of the letter or the key; of a saga, ``message_id`` is its id, and ``box`` is ``saga``.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    who = models.CharField(max_length=LONGEST)
    act = models.CharField(max_length=10)
    reason = models.TextField()
    number = models.BigIntegerField(null=True)
    box = models.CharField(max_length=6)
    queue = models.CharField(max_length=LONGEST)
    topic = models.CharField(max_length=LONGEST)
    key = models.CharField(max_length=LONGEST)
    name = models.CharField(max_length=LONGEST)
    message_id = models.UUIDField(null=True)
    cause = models.TextField()
    headers = models.TextField()
    payload_sha256 = models.CharField(max_length=64)

    class Meta:
        db_table = table("action")
        indexes = [models.Index(fields=["at"], name=table("action_at"))]


class Scheduled(MessageRow):
    """A message that is not due yet; it never enters the tables that are read all the time."""

    id = models.BigAutoField(primary_key=True)
    box = models.CharField(max_length=6)
    due = models.DateTimeField()

    class Meta:
        db_table = table("scheduled")
        indexes = [models.Index(fields=["due", "id"], name=table("scheduled_due"))]


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
