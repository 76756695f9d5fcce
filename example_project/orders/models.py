"""What is for sale, and what was ordered."""

from django.db import models


class Product(models.Model):
    """Something that is for sale."""

    sku = models.CharField(max_length=20, primary_key=True)
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=10, decimal_places=2)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """An order; changed by commands only."""

    class State(models.TextChoices):
        """How far it is."""

        PLACED = "placed"
        PAID = "paid"
        CANCELLED = "cancelled"

    email = models.EmailField()
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField()
    total = models.DecimalField(max_digits=12, decimal_places=2)
    state = models.CharField(max_length=10, choices=State, default=State.PLACED)
    placed_at = models.DateTimeField(auto_now_add=True)
