"""The system check of permissions: what a message needs, somebody can have."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.core import checks

from django_cqrs.mediator import DjangoMediator
from simplecqrs.messages import traits

__all__ = ["unknown_permissions"]


def unknown_permissions(mediator: DjangoMediator) -> Sequence[checks.CheckMessage]:
    """Warn of permissions that no model defines: a typing error lets nobody in but superusers."""
    if not apps.is_installed("django.contrib.auth"):
        return []
    known = _defined()
    messages = dict.fromkeys(m for r in mediator.registrations() for m in r.messages)
    needed = {message: traits(message).permission for message in messages}
    return [
        checks.Warning(
            f"{message.__qualname__} needs the permission {name!r}, which no model defines",
            hint=_hint(name, known),
            id="cqrs.W020",
        )
        for message, name in needed.items()
        if isinstance(name, str) and name not in known
    ]


def _defined() -> set[str]:
    """Return what ``migrate`` makes of the models."""
    found: set[Any] = set()
    for model in apps.get_models():
        options = model._meta
        names = [get_permission_codename(action, options) for action in options.default_permissions]
        names += [codename for codename, _ in options.permissions]
        found |= {f"{options.app_label}.{name}" for name in names}
    return found


def _hint(name: str, known: set[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"Did you mean {close[0]!r}?"
    return "Name it in Meta.permissions of a model; if a backend of yours knows it, silence this check."
