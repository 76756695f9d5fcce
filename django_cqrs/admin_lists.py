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
from django_cqrs.inspection import BOXES, DjangoInspection
from django_cqrs.models import Dead
from simplecqrs.letters import Wanted

__all__ = ["ActFilter", "BoxFilter", "CappedPaginator", "CauseFilter", "QueueFilter", "ReasonForm"]

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
        """Offer the values."""
        return [(value, value[:80]) for value in self.values(model_admin.alias)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        return queryset if self.value() is None else queryset.filter(**{str(self.parameter_name): self.value()})


class BoxFilter(OneOf):
    """Chooses by box."""

    title = parameter_name = "box"

    def values(self, alias: str) -> Iterable[str]:
        """Return both."""
        return BOXES


class ActFilter(OneOf):
    """Chooses by what was done."""

    title = parameter_name = "act"

    def values(self, alias: str) -> Iterable[str]:
        """Return what an operator can do."""
        return ("retry", "skip", "hasten")


class QueueFilter(OneOf):
    """Chooses by queue: a broker's name, or a consumer's."""

    title = parameter_name = "queue"

    def values(self, alias: str) -> Iterable[str]:
        """Return those that have dead letters."""
        dead = Dead.objects.using(alias)
        return dict.fromkeys(queue for box in BOXES for queue in queues_of(dead.filter(box=box)))


class CauseFilter(OneOf):
    """Chooses by what letters died of."""

    title = parameter_name = "cause"

    def values(self, alias: str) -> Iterable[str]:
        """Return the most frequent causes of the newest letters."""
        causes, _ = DjangoInspection(alias).causes()
        return dict.fromkeys(found.cause for found in causes[:CAUSES])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list."""
        chosen: QuerySet[Any] = narrowed(queryset, Wanted(cause=self.value()))
        return chosen
