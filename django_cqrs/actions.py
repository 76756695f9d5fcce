"""What operators do to dead letters and blocked keys, and the record of it: who, when, what and why."""

from __future__ import annotations

import getpass
import hashlib
import logging
import os
from typing import Any

from attrs import field, frozen
from django.db import transaction

from django_cqrs.audit import record
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Blocked, Dead
from django_cqrs.rows import text
from django_cqrs.wakeup import wake_after_commit
from simplecqrs.letters import cause_of
from simplecqrs.log_fields import named, printable

__all__ = ["Operator", "system_user"]

log = logging.getLogger("django_cqrs")


def system_user() -> str:
    """Return who runs this process, whoever called sudo in between."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


@frozen
class Operator:
    """
    Somebody who acts on the dead letters and blocked keys of one alias.

    What is done and its record are one transaction.

    Args:
        alias: of the database.
        who: a user of the system, or of Django.
        reason: why.
    """

    alias: str
    who: str
    reason: str = field(default="", converter=text)

    @property
    def inspection(self) -> DjangoInspection:
        """Look at the alias."""
        return DjangoInspection(self.alias)

    def retry(self, letter: int) -> bool:
        """Give a dead letter its attempts anew.  False if there is none, or if it was never readable."""
        return self._act("retry", Dead, letter, self.inspection.retry)

    def skip(self, letter: int) -> bool:
        """Drop a dead letter for good.  Its headers are kept, and the hash of its payload.  False if there is none."""
        return self._act("skip", Dead, letter, self.inspection.skip)

    def forget(self, letter: int) -> bool:
        """Drop a dead letter since its time is over, as a skip does.  False if there is none."""
        return self._act("forget", Dead, letter, self.inspection.skip, level=logging.INFO)

    def hasten(self, blocked: int) -> bool:
        """Make a blocked key due now.  False if there is none, or if it waits for a dead letter."""
        return self._act("hasten", Blocked, blocked, self.inspection.hasten)

    def _act(self, act: str, kind: type[Any], number: int, do: Any, *, level: int = logging.WARNING) -> bool:
        with transaction.atomic(using=self.alias):
            found = kind.objects.using(self.alias).filter(pk=number).first()
            if found is None or not do(number):
                return False
            # Who waits for work where no loop polls would find it late: Celery's workers, or those that NOTIFY wakes.
            wake_after_commit(self.alias, {f"{found.box}:{found.queue}"})
            action = record(self.alias, act, who=self.who, reason=self.reason, number=number, **_what(found))
        log.log(
            level,
            "%s: %s of %s %s (%s %s, topic %s, key %s, message %s): %s",
            action.who, act, kind._meta.verbose_name, number, action.box, action.queue, printable(action.topic),
            printable(action.key) or "none", action.message_id, printable(self.reason) or "no reason given",
            extra=named(
                message=action.name, id=str(action.message_id or ""), queue=action.queue, topic=action.topic,
                key=action.key, act=act, who=action.who,
            ),
        )  # fmt: skip
        return True


def _what(found: Dead | Blocked) -> dict[str, Any]:
    """Return what a record keeps: enough to find the message elsewhere, and nothing of what it says."""
    where = {"box": found.box, "queue": found.queue, "topic": found.topic, "key": found.key}
    if isinstance(found, Blocked):
        return {**where, "name": "", "cause": cause_of(found.error), "headers": "", "payload_sha256": ""}
    return {
        **where,
        "name": found.name,
        "message_id": found.message_id,
        "cause": cause_of(found.reason),
        "headers": found.headers,
        "payload_sha256": hashlib.sha256(bytes(found.payload)).hexdigest(),
    }
