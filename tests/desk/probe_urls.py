"""The addresses that probes ask."""

from __future__ import annotations

from django.urls import path

from django_cqrs import health

__all__ = ["urlpatterns"]

urlpatterns = [path("live", health.live), path("ready", health.ready)]
