"""The tables of sagas: where each is, its log, what it waits for, and events that came before anybody waited."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from django_cqrs.conf import table
from simplecqrs.messages import LONGEST

__all__ = ["Saga", "SagaEntry", "SagaMail", "SagaWait"]

#: Characters of names of sagas and steps, and of what says where an event is handed in.
NAME, ADDRESS = 100, 64


class Saga(models.Model):
    """
    A saga as its last step has left it.

    ``due_at`` is when others may take it up: the end of its owner's lease, or of its time to wait; NULL: nobody need.
    """

    id = models.UUIDField(primary_key=True)
    saga = models.CharField(max_length=NAME)
    status = models.CharField(max_length=12)
    state = models.BinaryField()
    progress = models.TextField()
    position = models.IntegerField()
    version = models.IntegerField()
    fingerprint = models.CharField(max_length=64)
    paused = models.BooleanField()
    cancelled = models.BooleanField()
    error = models.TextField()
    owner = models.CharField(max_length=64)
    recoveries = models.IntegerField()
    correlation_id = models.CharField(max_length=LONGEST)
    headers = models.TextField()
    due_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = table("saga")
        permissions = [
            ("cancel_saga", "Can cancel sagas"),
            ("pause_saga", "Can pause and resume sagas"),
            ("retry_saga", "Can retry sagas"),
            ("skip_saga", "Can skip steps of sagas"),
        ]
        indexes = [
            models.Index(fields=["due_at"], name=table("saga_due")),
            models.Index(fields=["created_at"], name=table("saga_created")),
            models.Index(fields=["saga", "created_at"], name=table("saga_name")),
            models.Index(fields=["status", "created_at"], name=table("saga_status")),
        ]

    def __str__(self) -> str:
        return f"{self.saga} {self.id}"


class SagaEntry(models.Model):
    """A line of a saga's log; ``at`` is in seconds since 1970."""

    id = models.BigAutoField(primary_key=True)
    saga_id = models.UUIDField()
    step = models.CharField(max_length=NAME)
    action = models.CharField(max_length=20)
    event = models.CharField(max_length=20)
    at = models.FloatField()
    attempt = models.IntegerField()
    error = models.TextField()
    who = models.TextField()

    class Meta:
        db_table = table("saga_entry")
        indexes = [models.Index(fields=["saga_id", "id"], name=table("saga_entry_saga"))]
        verbose_name_plural = "saga entries"


class SagaWait(models.Model):
    """A step that waits, until when, and the event that has come for it."""

    id = models.BigAutoField(primary_key=True)
    saga_id = models.UUIDField()
    step = models.CharField(max_length=NAME)
    address = models.CharField(max_length=ADDRESS)
    place = models.TextField()
    key = models.TextField(db_column="event_key")  # KEY is a word of MySQL's
    ends = models.DateTimeField(null=True)
    event = models.BinaryField(null=True)

    class Meta:
        db_table = table("saga_wait")
        constraints = [models.UniqueConstraint(fields=["saga_id", "step"], name=table("saga_wait_step"))]
        indexes = [models.Index(fields=["address"], name=table("saga_wait_address"))]


class SagaMail(models.Model):
    """An event that came before anybody waited for it."""

    id = models.BigAutoField(primary_key=True)
    address = models.CharField(max_length=ADDRESS)
    payload = models.BinaryField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = table("saga_mail")
        indexes = [
            models.Index(fields=["address", "id"], name=table("saga_mail_address")),
            models.Index(fields=["at"], name=table("saga_mail_at")),
        ]
        verbose_name_plural = "saga mail"
