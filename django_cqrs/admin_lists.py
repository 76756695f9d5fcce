"""What the lists of Django's admin are made of, without reading whole tables: filters, a paginator, a reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.forms import CharField
from django.http import HttpRequest
from django.utils.functional import cached_property

from django_cqrs.bounded import capped, narrowed, queues_of
from django_cqrs.causes import before_newest, count_causes
from django_cqrs.inspection import BOXES
from django_cqrs.models import Dead
from django_cqrs.relay import aliases
from django_cqrs.saga_acts import ACTS
from simplecqrs.letters import Wanted

__all__ = [
    "ActFilter",
    "BoxFilter",
    "CappedPaginator",
    "CauseFilter",
    "DatabaseFilter",
    "PlaceFilter",
    "QueueFilter",
    "ReasonForm",
]

if TYPE_CHECKING:
    Pages = Paginator[Any]
else:
    Pages = Paginator  # which Django cannot subscript

#: Causes that can be chosen.
CAUSES = 20


class CappedPaginator(Pages):
    """Counts no further than people turn pages."""

    @cached_property
    def count(self) -> int:
        """Count up to the cap."""
        return capped(self.object_list)


class ReasonForm(ActionForm):
    """Asks for the reason of an action."""

    reason = CharField(required=False, max_length=1000)


class OneOf(admin.SimpleListFilter):
    """Chooses rows by a column; Django's own filter would read all of them to find its values."""

    def values(self, alias: str) -> Iterable[str]:
        """Return what can be chosen."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the values that are on the alias whose list it is."""
        return [(value, value[:80]) for value in self.values(model_admin.get_queryset(request).db)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        return queryset if self.value() is None else queryset.filter(**{str(self.parameter_name): self.value()})


class DatabaseFilter(OneOf):
    """Chooses the alias, where there are several; the list itself goes by it."""

    title = parameter_name = "database"

    def values(self, alias: str) -> Iterable[str]:
        """Return those that have an outbox."""
        return aliases() if len(aliases()) > 1 else ()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Leave the list as it is."""
        return queryset


class BoxFilter(OneOf):
    """Chooses by box."""

    title = parameter_name = "box"

    def values(self, alias: str) -> Iterable[str]:
        """Return both."""
        return BOXES


class PlaceFilter(BoxFilter):
    """Chooses by where something was done."""

    title = "where"

    def values(self, alias: str) -> Iterable[str]:
        """Return the boxes, and what is in none."""
        return (*BOXES, "saga")


class ActFilter(OneOf):
    """Chooses by what was done."""

    title = parameter_name = "act"

    def values(self, alias: str) -> Iterable[str]:
        """Return what an operator can do."""
        return dict.fromkeys(("retry", "skip", "hasten", *ACTS))


class QueueFilter(OneOf):
    """Chooses by queue: a broker's name, or a consumer's."""

    title = parameter_name = "queue"

    def values(self, alias: str) -> Iterable[str]:
        """Return those that have dead letters."""
        dead = Dead.objects.using(alias)
        return dict.fromkeys(queue for box in BOXES for queue in queues_of(dead.filter(box=box)))


class CauseFilter(OneOf):
    """Chooses by what letters died of, of those that causes are counted of."""

    title = "cause, of the newest 10,000"
    parameter_name = "cause"

    def values(self, alias: str) -> Iterable[str]:
        """Return the most frequent causes of the newest letters."""
        causes, _ = count_causes(alias, most=CAUSES, named=False)
        return dict.fromkeys(found.cause for found in causes)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        if self.value() is None:
            return queryset
        newest = queryset.filter(pk__gt=before_newest(Dead.objects.using(queryset.db)))
        chosen: QuerySet[Any] = narrowed(newest, Wanted(whole_cause=self.value()))
        return chosen
