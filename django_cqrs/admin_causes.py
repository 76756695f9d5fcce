"""Django's admin: dead letters by cause, and one reason for all letters of a cause."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from attrs import frozen
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from django_cqrs.admin_pages import alias_of, may, operator_of
from django_cqrs.bounded import capped, narrowed
from django_cqrs.causes import CauseCount, before_newest, count_causes
from django_cqrs.group_acts import ACTS, act_on_group, said_of
from django_cqrs.inspection import BOXES
from django_cqrs.management.letters import count_of
from django_cqrs.models import Dead
from django_cqrs.relay import aliases
from simplecqrs.letters import CAP, Box, Wanted

__all__ = ["Group", "alone", "by_cause", "one_cause"]

#: Letters that are shown of a cause.
LETTERS = 10
#: The permission that each act needs, and whether it needs a reason.
NEEDS = {"retry": ("retry_dead", False), "retry_now": ("retry_dead", False), "skip": ("skip_dead", True)}
assert NEEDS.keys() == ACTS.keys()


@frozen
class Group:
    """The letters of one cause in one queue of an alias, of those that were looked at."""

    database: str
    found: CauseCount

    @property
    def query(self) -> str:
        """Return what names it in an address."""
        found = self.found
        return urlencode({"database": self.database, "box": found.box, "queue": found.queue, "cause": found.cause})

    @property
    def names(self) -> str:
        """Name some of the messages."""
        shown = ", ".join(name or "unreadable" for name in self.found.names)
        more = self.found.kinds - len(self.found.names)
        return f"{shown} and {more:,} more" if more > 0 else shown


def by_cause(admin: Any, request: HttpRequest) -> HttpResponse:
    """Show how many died of what, on every alias."""
    if not admin.has_view_permission(request):
        raise PermissionDenied
    found = {alias: count_causes(alias) for alias in aliases()}
    groups = [Group(alias, cause) for alias, (causes, _) in found.items() for cause in causes]
    context = {
        "title": "Dead letters by cause",
        "groups": sorted(groups, key=lambda group: -group.found.count),
        "is_whole": all(whole for _, whole in found.values()),
        "cap": CAP - 1,
        "several": len(aliases()) > 1,
    }
    return _page(admin, request, "causes", context)


def one_cause(admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the letters of one cause, and do something to all of them; so many in a request as time allows."""
    if not admin.has_view_permission(request):
        raise PermissionDenied
    asked = {name: request.GET.get(name, "") for name in ("box", "queue", "cause")}
    if asked["box"] not in BOXES:
        raise Http404("there is no such box")
    box: Box = next(box for box in BOXES if box == asked["box"])
    wanted = Wanted(box=box, queue=asked["queue"], whole_cause=asked["cause"])
    if request.method == "POST":
        return _act(admin, request, wanted)
    alias = alias_of(request)
    every = Dead.objects.using(alias).defer("payload", "headers")
    dead = narrowed(every.filter(pk__gt=before_newest(every)), wanted).order_by("pk")
    first = dead.first()
    context = {
        "title": "Dead letters of one cause",
        **asked,
        "alias": alias,
        "count": count_of(capped(dead)),
        "first": first,
        "letters": dead.reverse()[:LETTERS] if first is not None else [],
        "query": urlencode({"database": alias, **asked}),
        "reason": request.GET.get("reason", ""),
        "may_retry": may(request, "retry_dead"),
        "may_skip": may(request, "skip_dead"),
    }
    return _page(admin, request, "cause", context)


def _act(admin: Any, request: HttpRequest, wanted: Wanted) -> HttpResponse:
    act = request.POST.get("act", "")
    permission, needs_reason = NEEDS.get(act, ("", False))
    if not permission or not may(request, permission):
        raise PermissionDenied
    operator, again = operator_of(request), request.GET.copy()
    if needs_reason and not operator.reason:
        messages.error(request, "nothing was skipped: say why")
        return HttpResponseRedirect(f"{request.path}?{again.urlencode()}")
    outcome = act_on_group(act, operator, wanted)
    if outcome.done:
        messages.success(request, f"{outcome.done}; {said_of(outcome.left)}")
    for trouble in outcome.trouble:
        messages.warning(request, trouble)
    if outcome.left or outcome.trouble:
        again["reason"] = operator.reason
        return HttpResponseRedirect(f"{request.path}?{again.urlencode()}")
    if not outcome.done:
        messages.warning(request, "nothing was done: they are gone already")
    return HttpResponseRedirect(reverse("admin:django_cqrs_dead_causes", current_app=admin.admin_site.name))


def _page(admin: Any, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    request.current_app = admin.admin_site.name
    given = {**admin.admin_site.each_context(request), "opts": Dead._meta, **context}
    return TemplateResponse(request, f"django_cqrs/{name}.html", given)


def alone(view: Any) -> Any:
    """Let a view commit what it does one by one, whatever ATOMIC_REQUESTS says: others are to act on it meanwhile."""
    view._non_atomic_requests = set(connections)
    return view
