"""
Django's admin: dead letters, blocked keys, sagas, and the record of what was done to them.

Everything is read-only; what can be done are actions, each with a permission of its own and a reason.  Outbox and inbox
are not here: they are worked all the time, and a page that counts their rows is a burden on them.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path

from django_cqrs.admin_causes import alone, by_cause, one_cause
from django_cqrs.admin_lists import ActFilter, BoxFilter, CauseFilter, DatabaseFilter, PlaceFilter, QueueFilter
from django_cqrs.admin_operations import OperationsAdmin
from django_cqrs.admin_pages import SHOWN, ReadOnly, found_by, may, operator_of
from django_cqrs.inspection import DjangoInspection
from django_cqrs.masking import masked, shown_headers, shown_message
from django_cqrs.models import Action, Blocked, Dead
from django_cqrs.saga_admin import SagaAdmin
from simplecqrs.letters import cause_of

__all__ = ["ActionAdmin", "BlockedAdmin", "DeadAdmin", "OperationsAdmin", "SagaAdmin"]


@admin.register(Dead)
class DeadAdmin(ReadOnly):
    """Dead letters, by cause, queue and box."""

    list_display = ("id", "since", "box", "queue", "name", "key", "attempts", "cause")
    list_filter = (DatabaseFilter, BoxFilter, QueueFilter, CauseFilter)
    search_fields = ("key",)
    search_help_text = "a key, a message id, or a consumer's or broker's name, each as a whole"
    fields = (
        "box", "queue", "name", "topic", "key", "message_id", "attempts", "since", "holds", "shown_reason",
        "shown_headers", "source", "time", "correlation_id", "causation_id", "content_type", "shown_payload",
    )  # fmt: skip
    readonly_fields = ("shown_reason", "shown_headers", "shown_payload")
    withheld = ("shown_payload",)
    actions = ("retry", "skip")

    def get_urls(self) -> list[URLPattern]:
        """Add the pages of causes."""
        view = self.admin_site.admin_view
        ours = [
            path("causes/", view(partial(by_cause, self)), name="django_cqrs_dead_causes"),
            path("cause/", view(alone(partial(one_cause, self))), name="django_cqrs_dead_cause"),
        ]
        return [*ours, *super().get_urls()]

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission retry_dead."""
        return may(request, "retry_dead")

    def has_skip_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission skip_dead."""
        return may(request, "skip_dead")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look for a message id, or for a whole key or queue: what contains a text would be a scan."""
        if not search_term:
            return queryset, False
        try:
            return queryset.filter(message_id=UUID(search_term)), False
        except ValueError:
            return found_by(queryset, search_term), False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the bytes in the database until one letter is looked at."""
        found: QuerySet[Any] = super().get_queryset(request).defer("payload")
        return found

    @admin.display(description="cause")
    def cause(self, dead: Dead) -> str:
        """Show the first line of the reason."""
        return cause_of(dead.reason)

    @admin.display(description="reason")
    def shown_reason(self, dead: Dead) -> str:
        """Show the reason."""
        return masked(dead.reason[:SHOWN])

    @admin.display(description="headers")
    def shown_headers(self, dead: Dead) -> str:
        """Show the headers, masked."""
        return shown_headers(dead.headers)

    @admin.display(description="payload")
    def shown_payload(self, dead: Dead) -> str:
        """Show its beginning, masked; the template escapes it."""
        return shown_message(dead)

    @admin.action(description="Retry: give all attempts anew", permissions=["retry"])
    def retry(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        """Retry the letters that were chosen."""
        self._each(request, chosen, operator_of(request).retry, "are tried again now")

    @admin.action(description="Skip: drop for good, the key goes on (needs a reason)", permissions=["skip"])
    def skip(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        """Skip the letters that were chosen."""
        operator = operator_of(request)
        if not operator.reason:
            self.message_user(request, "nothing was skipped: say why, beside the action", messages.ERROR)
            return
        self._each(request, chosen, operator.skip, "are dropped; what waited behind them goes on")


@admin.register(Blocked)
class BlockedAdmin(ReadOnly):
    """Keys that wait for their next attempt, or for an operator."""

    list_display = ("id", "since", "box", "queue", "topic", "key", "attempts", "next_at", "cause")
    list_filter = (DatabaseFilter, BoxFilter)
    search_fields = ("key",)
    search_help_text = "a key, or a consumer's or broker's name, each as a whole"
    fields = ("box", "queue", "topic", "key", "attempts", "since", "next_at", "waiting", "error")
    readonly_fields = ("waiting",)
    ordering = ("id",)
    actions = ("retry_now",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look for a whole key or queue."""
        if not search_term:
            return queryset, False
        return found_by(queryset, search_term), False

    @admin.display(description="cause")
    def cause(self, blocked: Blocked) -> str:
        """Show the first line of the last failure."""
        return cause_of(blocked.error)

    @admin.display(description="parked messages")
    def waiting(self, blocked: Blocked) -> str:
        """Count who waits, up to a cap."""
        from django_cqrs.management.letters import count_of

        return count_of(DjangoInspection(str(blocked._state.db)).waiting(blocked))

    def has_hasten_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission hasten_blocked."""
        return may(request, "hasten_blocked")

    @admin.action(description="Retry now: do not wait for the next attempt", permissions=["hasten"])
    def retry_now(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        """Bring the next attempt of the keys that were chosen forward."""
        self._each(request, chosen, operator_of(request).hasten, "are tried again now")


@admin.register(Action)
class ActionAdmin(ReadOnly):
    """What was done, by whom, when and why."""

    list_display = ("at", "who", "act", "number", "box", "queue", "name", "key", "reason")
    list_filter = (DatabaseFilter, ActFilter, PlaceFilter)
    list_display_links = ("at",)
