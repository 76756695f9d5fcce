"""What server is under a database: after a failover it may lack the last commits of the one before."""

from __future__ import annotations

import logging
from typing import Any

from attrs import define, field
from django.db import OperationalError, connections, transaction
from django.db.utils import DatabaseError

from django_cqrs.databases import dialect

__all__ = ["Under"]

log = logging.getLogger("django_cqrs")


@define
class Under:
    """
    Tells which server is under a database, as far as it says so.

    Attributes:
        server: what it called itself when this was made; empty: nobody can tell.
    """

    alias: str
    server: str = field(init=False)
    _connection: Any = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.server = self._ask()

    def is_same(self, *, certainly: bool = False) -> bool:
        """
        Tell whether that server is still there; it is asked once on each connection.

        Args:
            certainly: ask it in any case; a pooler may have put another one under the connection.
        """
        connection = connections[self.alias]
        connection.ensure_connection()
        if not self.server or (connection.connection is self._connection and not certainly):
            return True
        return self._ask() == self.server

    def _ask(self) -> str:
        connection, expression = connections[self.alias], dialect(self.alias).server
        if not expression:
            return ""
        try:
            with transaction.atomic(using=self.alias), connection.cursor() as cursor:
                cursor.execute(f"SELECT {expression}")
                server = str(cursor.fetchone()[0])
        except OperationalError:  # it did not answer
            raise
        except DatabaseError as error:
            log.info("%s does not tell which server it is, so that a failover goes unnoticed: %s", self.alias, error)
            server = ""
        self._connection = connection.connection
        return server
