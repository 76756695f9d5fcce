"""
The errors that only Django can cause.

::

    CQRSError
    ├── QueryWrote                   a query that changed something
    ├── WroteElsewhere               a command that wrote through another database than its own
    ├── TransactionBroken            a command whose transaction was lost while nobody said so
    ├── IdempotencyKeyInvalid        a request whose header Idempotency-Key is missing or cannot be read
    ├── AppendOnly                   a record of an operator's act that was to be changed or deleted
    ├── NotPermitted                 a message that this user may not give; Django answers 403
    ├── InsideTransaction            something that needs a commit, inside of somebody's transaction
    ├── OutboxFull                   an event for a broker for which too many wait
    └── PublishedOutsideTransaction  an event that shares its fate with nothing
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied

from simplecqrs.errors import CQRSError, NotPublished
from simplecqrs.errors import NotPermitted as _NotPermitted

__all__ = [
    "AppendOnly",
    "IdempotencyKeyInvalid",
    "InsideTransaction",
    "NotPermitted",
    "OutboxFull",
    "PublishedOutsideTransaction",
    "QueryWrote",
    "TransactionBroken",
    "WroteElsewhere",
]


class QueryWrote(CQRSError, RuntimeError):
    """Raised when the handler of a query writes to a database; setting QUERY_GUARD."""


class WroteElsewhere(CQRSError, RuntimeError):
    """Raised when a command writes through another alias than its own; setting ALIAS_GUARD."""


class TransactionBroken(CQRSError, RuntimeError):
    """Raised by ``send`` instead of an answer when the database has given up the transaction and nobody raised."""


class IdempotencyKeyInvalid(CQRSError, ValueError):
    """Raised when a request has no header ``Idempotency-Key`` where it needs one, or one that cannot be read."""


class AppendOnly(CQRSError, TypeError):
    """Raised when a record of what an operator did is to be changed or deleted."""


class InsideTransaction(CQRSError, RuntimeError):
    """Raised when something that must commit is called inside of an open transaction."""


class NotPermitted(_NotPermitted, PermissionDenied):
    """Raised before anything is done for a message with ``permission=`` that the acting user may not give."""


class OutboxFull(NotPublished):
    """Raised when an event is published to a broker for which more wait than MAX_PENDING allows."""


class PublishedOutsideTransaction(NotPublished):
    """Raised when an event is published where no transaction is open, so that it could be lost or a ghost."""
