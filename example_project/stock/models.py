"""What is on the shelf."""

from django.db import models


class Item(models.Model):
    """How many of a product can still be ordered."""

    sku = models.CharField(max_length=20, primary_key=True)
    available = models.PositiveIntegerField()
