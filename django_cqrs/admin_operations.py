"""Django's admin: the page that shows how everything goes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from django_cqrs.admin_pages import ReadOnly, may
from django_cqrs.models import Action, Blocked, Dead, Operations, Saga
from django_cqrs.operations import read_operations

__all__ = ["OperationsAdmin"]

#: Seconds after which the page may be asked to load itself again.
OFTEN = (10, 30, 60)
#: The lists to which it leads.
LISTS = {"dead": Dead, "blocked": Blocked, "saga": Saga, "action": Action}


@admin.register(Operations)
class OperationsAdmin(ReadOnly):
    """One page, in the place of a list."""

    def get_urls(self) -> list[URLPattern]:
        """Return the page, under our name and under the one by which the index finds it."""
        view = self.admin_site.admin_view(self.show)
        return [path("", view, name=f"django_cqrs_operations{name}") for name in ("", "_changelist")]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the permission view_operations."""
        return may(request, "view_operations")

    def _may_see(self, request: HttpRequest, kind: type[Model]) -> bool:
        """Tell whether somebody may see a list, and a site of the project's own has it."""
        return self.admin_site.is_registered(kind) and may(request, f"view_{kind._meta.model_name}")

    def show(self, request: HttpRequest) -> HttpResponse:
        """Show the page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        every = request.GET.get("every", "")
        found = read_operations()
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": "Operations",
            "operations": found,
            "status": found.status,
            "several": found.several,
            "now": timezone.now(),
            "every": int(every) if every in map(str, OFTEN) else None,
            "often": OFTEN,
            "may_see": {name: self._may_see(request, kind) for name, kind in LISTS.items()},
        }
        return TemplateResponse(request, "django_cqrs/operations.html", context)
