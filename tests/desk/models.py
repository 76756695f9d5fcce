"""What the desk stores."""

from django.db import models


class Ticket(models.Model):
    """A question of somebody."""

    title = models.CharField(max_length=100, unique=True)
    state = models.CharField(max_length=20, default="open")


class Tally(models.Model):
    """A read model: not idempotent on purpose, so that an event handled twice shows."""

    name = models.CharField(max_length=50, primary_key=True)
    n = models.IntegerField(default=0)


class Note(models.Model):
    """What handlers write down, in the order in which they did."""

    text = models.CharField(max_length=200)
    ticket = models.ForeignKey(Ticket, models.CASCADE, null=True)


class AuditEntry(models.Model):
    """Lives in another database."""

    text = models.CharField(max_length=200)
