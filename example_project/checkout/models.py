"""What a checkout makes besides the order: a parcel, and sometimes an invoice."""

from django.db import models


class Parcel(models.Model):
    """A place in the van, for one order."""

    class State(models.TextChoices):
        """How far it is."""

        RESERVED = "reserved"
        RELEASED = "released"
        SHIPPED = "shipped"

    order_id = models.BigIntegerField(primary_key=True)
    state = models.CharField(max_length=10, choices=State, default=State.RESERVED)


class Invoice(models.Model):
    """What a customer pays later whose card was refused."""

    order_id = models.BigIntegerField(primary_key=True)
    total = models.DecimalField(max_digits=12, decimal_places=2)
    is_void = models.BooleanField(default=False)
