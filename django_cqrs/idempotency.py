"""Idempotency keys in the table ``cqrs_idempotency``, on the alias of their command."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from django.db import connections

from django_cqrs.conf import settings
from django_cqrs.databases.claims import claim_row
from django_cqrs.models import Idempotency
from django_cqrs.transactions import refuse_broken
from simplecqrs.errors import IdempotencyKeyInUse
from simplecqrs.idempotency import Claim, Kept
from simplecqrs.messages import Message

__all__ = ["DjangoIdempotency"]

TABLE = Idempotency._meta.db_table
COLUMNS = ("digest", "name", "fingerprint")


class DjangoIdempotency:
    """
    An ``IdempotencyStore`` in the project's databases.

    Args:
        alias_of: the database alias of a command's transaction.
    """

    def __init__(self, alias_of: Callable[[Message], str]) -> None:
        self._alias_of = alias_of

    def claim(self, command: Message, claim: Claim, /, *, wait: bool) -> Kept | None:
        """Insert a row, or read the one that is there."""
        alias, row = self._alias_of(command), (claim.digest, claim.name, claim.fingerprint)
        of_ours = sha256(f"{TABLE}:{claim.digest}".encode()).digest()  # another project may share the database
        lock = int.from_bytes(of_ours[:8], "big", signed=True)
        seconds = settings().idempotency_wait if wait else 0
        try:
            while not claim_row(alias, TABLE, COLUMNS, row, lock=lock, wait=seconds):
                kept = _read(alias, claim.digest)
                if kept is not None:  # else it was purged at this moment
                    return kept
        except TimeoutError:
            raise IdempotencyKeyInUse(f"another {claim.name} of the same idempotency key is still at work") from None
        return None

    def keep(self, command: Message, claim: Claim, answer: bytes, /) -> None:
        """Write the answer into the row."""
        alias = self._alias_of(command)
        refuse_broken(command, connections[alias])
        Idempotency.objects.using(alias).filter(digest=claim.digest).update(answer=answer)


def _read(alias: str, digest: str) -> Kept | None:
    connection = connections[alias]
    # On MariaDB and MySQL: read what is committed now, also where the transaction has a snapshot.
    now = " LOCK IN SHARE MODE" if connection.vendor == "mysql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name, fingerprint, answer FROM {TABLE} WHERE digest = %s{now}", [digest])
        found = cursor.fetchone()
    if found is None:
        return None
    name, mark, answer = found
    return Kept(name, mark, None if answer is None else bytes(answer))
