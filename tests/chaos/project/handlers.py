"""Who does it: the producer's side, and a consumer that counts."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

from django.conf import settings
from django.db import connection

from simplecqrs import Publish, current, handles
from simplecqrs.timing import Timed
from tests.chaos.project.faults import at, dawdle, fails, linger
from tests.chaos.project.messages import AuditBump, AuditBumped, Bump, Bumped, Later
from tests.chaos.project.models import AuditDeed, Deed, Handled


@handles(Bump)
def bump(command: Bump, publish: Publish) -> int:
    """Raise the counter, whose row is locked from then on; write a row for each step and tell each."""
    version = raise_counter(command.key, command.steps)
    for step in range(version - command.steps + 1, version + 1):
        Deed.objects.create(deed=command.deed, key=command.key, version=step)
        event = Bumped(command.key, step, command.deed)
        publish(Timed(event, due=timedelta(0)) if command.key == "timed" else event)
        at("produce")
    dawdle()
    return version


@handles(AuditBump)
def audit_bump(command: AuditBump, publish: Publish) -> None:
    """Write on the other alias, and tell."""
    AuditDeed.objects.create(deed=command.deed)
    publish(AuditBumped("audit", 0, command.deed))
    if command.fail:
        raise ValueError("as asked")


@handles(Bumped, AuditBumped, consumer="ledger", retry=settings.RETRY)
def keep_ledger(event: Bumped | AuditBumped) -> None:
    """Count, and fail now and then if told to: before and after the effect."""
    fails(event)
    linger(event)
    effect_of("ledger", event)
    at("handle")
    fails()


@handles(Later, retry=settings.RETRY)
def later(command: Later) -> None:
    """Have the effect of a deferred command."""
    fails(command)
    effect_of("deferred", command)
    at("handle")


def raise_counter(key: str, steps: int) -> int:
    """Raise a counter by one statement, and return its version."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chaos_counter (name, version) VALUES (%s, %s)"
            f" {_on_conflict('name')} version = chaos_counter.version + %s RETURNING version",
            [key, steps, steps],
        )
        version: int = cursor.fetchone()[0]
        return version


def _on_conflict(columns: str) -> str:
    return "ON DUPLICATE KEY UPDATE" if connection.vendor == "mysql" else f"ON CONFLICT ({columns}) DO UPDATE SET"


def effect_of(consumer: str, event: Bumped | AuditBumped | Later) -> None:
    """Add one, and write down that it was done: both in the transaction of the inbox row."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO chaos_effect (consumer, name, n) VALUES (%s, %s, 1)"
            f" {_on_conflict('consumer, name')} n = chaos_effect.n + 1",
            [consumer, event.key],
        )
    Handled.objects.create(
        consumer=consumer, event_id=current().id, deed=event.deed, key=event.key, version=event.version
    )


import_module("tests.chaos.project.breaks")  # its handlers as well
