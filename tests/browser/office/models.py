"""What the office stores."""

from django.db import models


class Person(models.Model):
    """Somebody, as the import found them; nobody comes twice."""

    batch = models.CharField(max_length=40)
    number = models.IntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["batch", "number"], name="nobody_twice"),)
