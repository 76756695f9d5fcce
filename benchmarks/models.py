"""The tables: what the handlers write, and what one would make by hand in place of outbox and inbox."""

from __future__ import annotations

from django.db import models

from django_cqrs.message_models import MessageRow


class Account(models.Model):
    """What commands and consumers write to."""

    n = models.BigIntegerField(default=0)


class OutboxByHand(MessageRow):
    """A table of the same shape as the outbox."""

    id = models.BigAutoField(primary_key=True)

    class Meta:
        indexes = [models.Index(fields=["queue", "lane", "id"], name="by_hand_lane")]  # noqa: RUF012


class SeenByHand(models.Model):
    """What a consumer written by hand remembers."""

    pk = models.CompositePrimaryKey("consumer", "source", "message_id")
    consumer = models.CharField(max_length=200)
    source = models.CharField(max_length=200)
    message_id = models.UUIDField()
    crc = models.BigIntegerField()
    seen_at = models.DateTimeField(db_default=models.functions.Now())


class LaneByHand(models.Model):
    """A row per lane, whose lock is the lane's on MariaDB."""

    lane = models.SmallIntegerField(primary_key=True)


class InboxByHand(MessageRow):
    """A table of the same shape as the inbox."""

    id = models.BigAutoField(primary_key=True)

    class Meta:
        indexes = [models.Index(fields=["queue", "lane", "id"], name="inbox_by_hand_lane")]  # noqa: RUF012
