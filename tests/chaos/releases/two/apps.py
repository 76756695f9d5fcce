"""The app, under the label that it has in both releases."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The shop."""

    name = "tests.chaos.releases.two"
    label = "shop"
