"""The read models: what pages show, kept up to date by events."""

from django.db import models


class Day(models.Model):
    """What was ordered and paid on a day."""

    day = models.DateField(primary_key=True)
    orders = models.IntegerField(default=0)
    paid = models.IntegerField(default=0)
    turnover = models.DecimalField(max_digits=14, decimal_places=2, default=0)


class StateCount(models.Model):
    """How many orders are in a state."""

    state = models.CharField(max_length=10, primary_key=True)
    orders = models.IntegerField(default=0)


class OrderHistory(models.Model):
    """How often what has happened to an order; each of these numbers is 0 or 1, if every event counts once."""

    order_id = models.BigIntegerField(primary_key=True)
    placed = models.IntegerField(default=0)
    paid = models.IntegerField(default=0)
    cancelled = models.IntegerField(default=0)
    state = models.CharField(max_length=10)
