"""Messages of sagas that failed: what they hold up, and what becomes of the saga whose message is skipped."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q

from django_cqrs.databases import dialect
from django_cqrs.models import Blocked, Dead
from django_cqrs.saga_messages import PREFIX
from django_cqrs.saga_rows import SagaRows
from simplecqrs.codec import JSONCodec
from simplecqrs.queue import SAGAS
from simplecqrs.saga.records import Record

__all__ = ["held_up", "let_recovery_take_it"]


def held_up(alias: str, record: Record) -> str:
    """Return by what the messages of a saga are held up; empty if nothing does."""
    of_it = Q(key=str(record.id)) | Q(key__startswith=f"{record.id}:")
    failed = (
        Blocked.objects.using(alias).filter(of_it, box="inbox", queue=SAGAS, topic=f"{PREFIX}{record.saga}").first()
    )
    if failed is None:
        return ""
    if failed.next_at is None:
        return f"its next message is a dead letter; see cqrs_dead list: {failed.error}"
    return f"its next message has failed, and is tried again at {failed.next_at:%Y-%m-%d %H:%M:%S}: {failed.error}"


def let_recovery_take_it(alias: str, dead: Dead) -> None:
    """
    Let a saga whose message is skipped be taken over by whoever recovers sagas, or nobody would go on with it.

    To stop a saga is another thing: to cancel it.
    """
    if (dead.box, dead.queue) != ("inbox", SAGAS) or not dead.topic.startswith(PREFIX):
        return
    try:
        saga_id = UUID(dead.key.partition(":")[0])
    except ValueError:  # none of ours
        return
    works = "owner = '' AND NOT paused AND status IN ('RUNNING', 'COMPENSATING')"
    SagaRows(alias, JSONCodec()).set_due(saga_id, (dialect(alias).now, []), works, [])
