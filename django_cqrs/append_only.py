"""Tables to which rows are added, and in which none is changed or deleted."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

from django_cqrs.errors import AppendOnly

__all__ = ["Kept"]


def _refuse(what: str) -> NoReturn:
    raise AppendOnly(f"the record of what operators did cannot be {what}; a correction is a row of its own")


class KeptRows(models.QuerySet[Any]):
    """Rows that are added and read."""

    def update(self, **_: Any) -> NoReturn:
        """Refuse."""
        _refuse("changed")

    def delete(self) -> NoReturn:
        """Refuse."""
        _refuse("deleted")

    def bulk_create(self, objs: Any, *arguments: Any, **options: Any) -> Any:
        """Add rows, unless they could take the places of others."""
        if options.get("update_conflicts"):
            _refuse("changed")
        return super().bulk_create(objs, *arguments, **options)


class Kept(models.Model):
    """A row that stays as it was added; retention alone deletes it, by a statement of its own."""

    objects = KeptRows.as_manager()

    class Meta:
        abstract = True

    def save(self, *_: Any, **options: Any) -> None:
        """Add it; what is stored is not changed."""
        if not self._state.adding:
            _refuse("changed")
        super().save(using=options.get("using"), force_insert=True)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse."""
        _refuse("deleted")
