"""The tables of what has failed: blocked keys, dead letters, and what operators did about them."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from django_cqrs.append_only import Kept
from django_cqrs.conf import table
from django_cqrs.message_models import MessageRow
from simplecqrs.messages import LONGEST

__all__ = ["Action", "Blocked", "Dead", "Operations"]


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
            models.Index(fields=["key"], name=table("dead_key")),
            models.Index(fields=["message_id"], name=table("dead_message")),
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
        indexes = [
            models.Index(fields=["at"], name=table("action_at")),
            models.Index(fields=["act", "id"], name=table("action_act")),
            models.Index(fields=["box", "id"], name=table("action_box")),
        ]
