"""Who does it: the producer's side, and a consumer that counts."""

from __future__ import annotations

from importlib import import_module

from django.db.models import F

from simplecqrs import Publish, Retry, current, handles
from tests.chaos.project.faults import at, dawdle, fails
from tests.chaos.project.messages import AuditBump, AuditBumped, Bump, Bumped, Later
from tests.chaos.project.models import AuditDeed, Counter, Deed, Effect, Handled


@handles(Bump)
def bump(command: Bump, publish: Publish) -> int:
    """Lock the counter, raise it, write a row for each step and tell each."""
    Counter.objects.get_or_create(key=command.key)
    counter = Counter.objects.select_for_update().get(key=command.key)
    for _ in range(command.steps):
        counter.version += 1
        Deed.objects.create(deed=command.deed, key=command.key, version=counter.version)
        publish(Bumped(command.key, counter.version, command.deed))
        at("produce")
    counter.save()
    dawdle()
    return counter.version


@handles(AuditBump)
def audit_bump(command: AuditBump, publish: Publish) -> None:
    """Write on the other alias, and tell."""
    AuditDeed.objects.create(deed=command.deed)
    publish(AuditBumped("audit", 0, command.deed))
    if command.fail:
        raise ValueError("as asked")


@handles(Bumped, AuditBumped, consumer="ledger", retry=Retry(20, first=0.05, cap=0.2))
def keep_ledger(event: Bumped | AuditBumped) -> None:
    """Count, and fail now and then if told to: before and after the effect."""
    fails()
    effect_of("ledger", event)
    at("handle")
    fails()


@handles(Later, retry=Retry(20, first=0.05, cap=0.2))
def later(command: Later) -> None:
    """Have the effect of a deferred command."""
    fails()
    effect_of("deferred", command)
    at("handle")


def effect_of(consumer: str, event: Bumped | AuditBumped | Later) -> None:
    """Add one, and write down that it was done: both in the transaction of the inbox row."""
    Effect.objects.get_or_create(consumer=consumer, key=event.key)
    Effect.objects.filter(consumer=consumer, key=event.key).update(n=F("n") + 1)
    Handled.objects.create(
        consumer=consumer, event_id=current().id, deed=event.deed, key=event.key, version=event.version
    )


import_module("tests.chaos.project.breaks")  # its handlers as well
