"""Audit entries have a database of their own."""

from __future__ import annotations

from typing import Any


class AuditRouter:
    """Keep the model AuditDeed, and only that and the queue's tables, on the alias audit."""

    def db_for_write(self, model: type[Any], **_: Any) -> str | None:
        """Write audit deeds to audit."""
        return "audit" if model.__name__ == "AuditDeed" else None

    db_for_read = db_for_write

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **_: Any) -> bool | None:
        """Make the tables where they belong."""
        if app_label == "django_cqrs":
            return True
        return (model_name == "auditdeed") == (db == "audit")
