"""The app whose tables both releases share."""

from __future__ import annotations

from django.apps import AppConfig


class ReleasesConfig(AppConfig):
    """Tables for what was told, and for what came of it."""

    name = "tests.chaos.releases"
    label = "releases"
