"""A page of the admin that shows a table and changes nothing: read-only, without counting all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from django_cqrs.actions import Operator
from django_cqrs.admin_lists import CappedPaginator, ReasonForm

__all__ = ["SHOWN", "ReadOnly", "may"]

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin  # which Django cannot subscript

#: Bytes of a payload, and characters of a text, that a page shows.
SHOWN = 4000


def may(request: HttpRequest, permission: str) -> bool:
    """Tell whether somebody has a permission of this app."""
    user: Any = request.user  # whatever AUTH_USER_MODEL is
    return bool(user.has_perm(f"django_cqrs.{permission}"))


class ReadOnly(ModelAdmin):
    """A table that is looked at, page by page, without counting all of it."""

    alias = "default"
    action_form = ReasonForm
    actions_selection_counter = False
    list_per_page = 100
    list_max_show_all = 100
    ordering: ClassVar[tuple[str, ...]] = ("-id",)
    paginator = CappedPaginator
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read the alias whose inboxes the consumers work."""
        found: QuerySet[Any] = super().get_queryset(request).using(self.alias)
        return found

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let nobody add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody delete: what is skipped is recorded."""
        return False

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission retry_dead."""
        return may(request, "retry_dead")

    def has_skip_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission skip_dead."""
        return may(request, "skip_dead")

    def _operator(self, request: HttpRequest) -> Operator:
        return Operator(self.alias, request.user.get_username(), request.POST.get("reason", "").strip())

    def _each(self, request: HttpRequest, chosen: QuerySet[Any], act: Callable[[int], bool], said: str) -> None:
        """Act on what was chosen, a page at most, and tell how many went and how many did not."""
        numbers = list(chosen.order_by("pk").values_list("pk", flat=True)[: self.list_per_page])
        done = sum([act(number) for number in numbers])
        if done:
            self.message_user(request, f"{done} {said}", messages.SUCCESS)
        if done < len(numbers):
            refused = "gone already, never readable, or held by a dead letter"
            self.message_user(request, f"{len(numbers) - done} left as they were: {refused}", messages.WARNING)
