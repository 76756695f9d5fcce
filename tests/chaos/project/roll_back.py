"""Fails at each point, with real commits, and prints what was raised: ``python -m tests.chaos.project.roll_back``."""

from __future__ import annotations

import json
from collections.abc import Callable


def main() -> None:
    """Fail everywhere."""
    import django

    django.setup()
    from tests.chaos.project.breaks import POINTS

    raised = {point: attempt(lambda point=point: send(point)) for point in POINTS}
    for more in (outer_rollback, view_fails, view_succeeds, second_alias_fails, second_alias_succeeds):
        raised[more.__name__] = attempt(more)
    print(json.dumps(raised))


def attempt(action: Callable[[], object]) -> str:
    """Return the name of what an action raises."""
    try:
        action()
    except Exception as error:  # noqa: BLE001 - the point is to raise
        return type(error).__name__
    return ""


def send(point: str) -> None:
    """Send a command that fails at a point."""
    from django_cqrs import bus
    from tests.chaos.project.messages import Break

    bus.send(Break(point, point))


def outer_rollback() -> None:
    """Roll back a transaction round a command that went well."""
    from django.db import transaction

    from django_cqrs import bus
    from tests.chaos.project.messages import Break

    with transaction.atomic():
        bus.send(Break("outer-rollback", "nowhere"))
        raise ValueError("after the command")


def view_fails() -> None:
    """Fail in a view with ATOMIC_REQUESTS, after its command."""
    from django.test import Client

    Client().get("/bump/view-fails/fails")


def view_succeeds() -> None:
    """Succeed in one."""
    from django.test import Client

    assert Client().get("/bump/view-succeeds/well").status_code == 200


def second_alias_fails() -> None:
    """Fail on the other alias."""
    from django_cqrs import bus
    from tests.chaos.project.messages import AuditBump

    bus.send(AuditBump("audit-fails", fail=True))


def second_alias_succeeds() -> None:
    """Succeed on the other alias."""
    from django_cqrs import bus
    from tests.chaos.project.messages import AuditBump

    bus.send(AuditBump("audit-succeeds"))


if __name__ == "__main__":
    main()
