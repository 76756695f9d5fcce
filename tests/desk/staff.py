"""Somebody in the admin who has these permissions and no others."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client

__all__ = ["staff"]


def staff(*permissions: str, **options: Any) -> Client:
    """Log somebody in who has these permissions."""
    User.objects.all().delete()
    ada = User.objects.create_user("ada", **{"is_staff": True, **options})
    ada.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(ada)
    return client
