"""Django's admin: sagas, each with its log and its picture, and what can be done to those that do not go on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from django_cqrs.admin_lists import DatabaseFilter, OneOf
from django_cqrs.admin_pages import SHOWN, ReadOnly, may
from django_cqrs.bounded import queues_of
from django_cqrs.masking import shown_state
from django_cqrs.mediator import project_mediator
from django_cqrs.models import Saga
from django_cqrs.saga_acts import STATUSES, SagaOperator
from django_cqrs.saga_pictures import svg_of
from django_cqrs.saga_status import trouble_of
from simplecqrs.errors import CQRSError

__all__ = ["SagaAdmin"]


class StatusFilter(OneOf):
    """Chooses by status."""

    title = parameter_name = "status"

    def values(self, alias: str) -> Iterable[str]:
        """Return all of them."""
        return STATUSES


class NameFilter(OneOf):
    """Chooses by the name of the definition."""

    title = "name"
    parameter_name = "saga"

    def values(self, alias: str) -> Iterable[str]:
        """Return the names of those that are stored, whether their definition is here or not."""
        return queues_of(Saga.objects.using(alias), "saga")


@admin.register(Saga)
class SagaAdmin(ReadOnly):
    """Sagas, by status and name."""

    list_display = ("id", "saga", "status", "step", "paused", "created_at", "updated_at", "cause")
    list_filter = (DatabaseFilter, StatusFilter, NameFilter)
    search_fields = ("id",)
    search_help_text = "the id of a saga, as a whole"
    fields = (
        "saga", "status", "paused", "cancelled", "error", "picture", "log", "shown_state", "created_at", "updated_at",
        "due_at", "owner", "recoveries", "correlation_id",
    )  # fmt: skip
    readonly_fields = ("picture", "log", "shown_state")
    withheld = ("shown_state",)
    ordering = ("-created_at", "-id")
    actions = ("cancel", "pause", "resume", "retry", "skip")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission cancel_saga."""
        return may(request, "cancel_saga")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission pause_saga."""
        return may(request, "pause_saga")

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission retry_saga."""
        return may(request, "retry_saga")

    def has_skip_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission skip_saga."""
        return may(request, "skip_saga")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave the states in the database until one saga is looked at."""
        found: QuerySet[Any] = super().get_queryset(request).defer("state", "headers")
        return found

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look for an id."""
        if not search_term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            return queryset.none(), False

    @admin.display
    def step(self, saga: Saga) -> str:
        """Show the step that was begun last."""
        return str(next(reversed(json.loads(saga.progress)), ""))

    @admin.display(description="error")
    def cause(self, saga: Saga) -> str:
        """Show in a line what went wrong."""
        return trouble_of(saga)

    @admin.display
    def picture(self, saga: Saga) -> str:
        """Draw the definition, with the way that this one has gone."""
        bus = project_mediator()
        record = bus.sagas.load(saga.id)
        return "" if record is None else svg_of(bus, record)

    @admin.display
    def log(self, saga: Saga) -> str:
        """Show the log."""
        rows = (
            (f"{entry.time:%Y-%m-%d %H:%M:%S.%f}"[:-3], entry.step, entry.action, entry.event, entry.attempt or "",
             entry.who, entry.error[:SHOWN])
            for entry in project_mediator().sagas.history(saga.id)
        )  # fmt: skip
        heads = ("time", "step", "action", "event", "attempt", "who", "error")
        line = "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"
        return format_html(
            "<table><tr>{}</tr>{}</table>",
            format_html_join("", "<th>{}</th>", ((head,) for head in heads)),
            format_html_join("", line, rows),
        )

    @admin.display(description="state")
    def shown_state(self, saga: Saga) -> str:
        """Show its beginning, masked; the template escapes it."""
        return shown_state(saga.saga, bytes(saga.state))

    @admin.action(description="Cancel: undo what was done (needs a reason)", permissions=["cancel"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        """Undo what was done."""
        self._act(request, chosen, "cancel")

    @admin.action(description="Pause: rest after the step that goes on (needs a reason)", permissions=["pause"])
    def pause(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        """Let them rest."""
        self._act(request, chosen, "pause")

    @admin.action(description="Resume what was paused (needs a reason)", permissions=["pause"])
    def resume(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        """Let them go on."""
        self._act(request, chosen, "resume")

    @admin.action(description="Retry what was given up, or is unknown (needs a reason)", permissions=["retry"])
    def retry(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        """Call it again."""
        self._act(request, chosen, "retry")

    @admin.action(description="Skip what was given up: settled by hand (needs a reason)", permissions=["skip"])
    def skip(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        """Go on without it."""
        self._act(request, chosen, "skip")

    def _act(self, request: HttpRequest, chosen: QuerySet[Any], act: str) -> None:
        """Act on what was chosen, a page at most, and tell what became of each."""
        why = request.POST.get("reason", "").strip()
        if not why:
            self.message_user(request, f"nothing was done: say why, beside the action {act!r}", messages.ERROR)
            return
        operator = SagaOperator(project_mediator(), request.user.get_username(), why)
        for saga_id in list(chosen.values_list("pk", flat=True)[: self.list_per_page]):
            try:
                self.message_user(request, operator.act(act, saga_id), messages.SUCCESS)
            except CQRSError as error:
                self.message_user(request, str(error), messages.ERROR)
