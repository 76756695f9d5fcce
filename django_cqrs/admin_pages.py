"""A page of the admin that shows a table and changes nothing: read-only, without counting all of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from django_cqrs.actions import Operator
from django_cqrs.admin_lists import CappedPaginator, ReasonForm
from django_cqrs.inspection import BOXES
from django_cqrs.relay import aliases

__all__ = ["SHOWN", "ReadOnly", "alias_of", "found_by", "may", "operator_of"]

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


def alias_of(request: HttpRequest) -> str:
    """Return the alias whose tables are looked at: what the list was narrowed to, else that of the inboxes."""
    kept = parse_qs(request.GET.get("_changelist_filters", "")).get("database", [""])[0]
    alias = request.GET.get("database") or kept
    return alias if alias in aliases() else "default"


def operator_of(request: HttpRequest) -> Operator:
    """Return who acts, and why."""
    return Operator(alias_of(request), request.user.get_username(), request.POST.get("reason", "").strip())


def found_by(found: QuerySet[Any], searched: str) -> QuerySet[Any]:
    """Return what has this key, or is in a queue of this name; to ask for either at once would be a scan."""
    rows = found.model._default_manager.using(found.db)
    is_queue = rows.filter(box__in=BOXES, queue=searched).exists()
    chosen = Q(key=searched) | Q(queue=searched) if is_queue else Q(key=searched)
    narrowed: QuerySet[Any] = found.filter(chosen)
    return narrowed


class ReadOnly(ModelAdmin):
    """A table that is looked at, page by page, without counting all of it."""

    action_form = ReasonForm
    actions_selection_counter = False
    list_per_page = 100
    list_max_show_all = 100
    ordering: ClassVar[tuple[str, ...]] = ("-id",)
    paginator = CappedPaginator
    show_full_result_count = False
    # Both would read all of a large table: what is counted by filter, and what is sorted by a column without an index.
    show_facets = admin.ShowFacets.NEVER
    sortable_by: ClassVar[tuple[str, ...]] = ()
    change_list_template = "django_cqrs/list.html"
    #: Fields that nobody sees without the permission view_payload.
    withheld: ClassVar[tuple[str, ...]] = ()

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("django_cqrs/operations.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read the alias that is looked at."""
        found: QuerySet[Any] = super().get_queryset(request).using(alias_of(request))
        return found

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Leave out what is withheld, unless somebody has the permission for it."""
        known = super().get_fields(request, obj)
        return [name for name in known if name not in self.withheld or may(request, "view_payload")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let nobody add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let nobody delete: what is skipped is recorded."""
        return False

    def _each(self, request: HttpRequest, chosen: QuerySet[Any], act: Callable[[int], bool], said: str) -> None:
        """Act on what was chosen, a page at most, and tell how many went and how many did not."""
        numbers = list(chosen.order_by("pk").values_list("pk", flat=True)[: self.list_per_page])
        done = sum([act(number) for number in numbers])
        if done:
            self.message_user(request, f"{done} {said}", messages.SUCCESS)
        if done < len(numbers):
            refused = "gone already, never readable, or held by a dead letter"
            self.message_user(request, f"{len(numbers) - done} left as they were: {refused}", messages.WARNING)
