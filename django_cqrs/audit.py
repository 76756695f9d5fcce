"""The record of what operators do: who, when, what and why."""

from __future__ import annotations

from uuid import UUID

from django_cqrs.models import Action
from django_cqrs.rows import text
from simplecqrs.messages import LONGEST

__all__ = ["record"]


def record(
    alias: str,
    act: str,
    *,
    who: str,
    reason: str,
    box: str,
    queue: str,
    number: int | None = None,
    topic: str = "",
    key: str = "",
    name: str = "",
    message_id: UUID | None = None,
    cause: str = "",
    headers: str = "",
    payload_sha256: str = "",
) -> Action:
    """
    Write down what an operator does, in the transaction that is open, in which it is done as well.

    Args:
        act: in a word of ten letters at most.
        number: of the row that it is done to, or how many messages it is done to.
        cause: why it was needed.
    """
    action = Action(
        act=act, who=text(who)[:LONGEST], reason=text(reason), number=number, box=box, queue=queue, topic=topic,
        key=key, name=name, message_id=message_id, cause=text(cause), headers=headers, payload_sha256=payload_sha256,
    )  # fmt: skip
    action.save(using=alias)
    return action
