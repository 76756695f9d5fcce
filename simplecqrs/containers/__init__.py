"""Where handlers get their dependencies; adapters to other libraries are in modules of their own."""

from __future__ import annotations

from simplecqrs.containers.port import Container
from simplecqrs.containers.provider import Provider

__all__ = ["Container", "Provider"]
