"""
Django's side of simplecqrs: transactions, outbox, inboxes, commands and tasks.

Add ``"django_cqrs"`` to ``INSTALLED_APPS``, write ``handlers.py`` in an app, and ``bus.send(...)``.
"""

from __future__ import annotations

from django_cqrs.mediator import DjangoMediator, bus

__all__ = ["DjangoMediator", "bus"]
