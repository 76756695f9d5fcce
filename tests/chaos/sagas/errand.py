"""
A saga that asks a bank: once, or again and again in processes that die at each of its steps.

Run as ``python -m tests.chaos.sagas.errand unpaid --crash``; prints a line of JSON for each crash, with what the bank
has then.
"""

from __future__ import annotations

import argparse
import json
import signal
from functools import partial
from typing import Any
from uuid import UUID, uuid4


def main() -> None:
    """Run one, or let it crash at each of its points."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--id", type=UUID, default=None)
    parser.add_argument("--crash", action="store_true")
    parser.add_argument("--mode", default="foreground")
    options = parser.parse_args()
    import django

    django.setup()
    if options.crash:
        crash(options.name, options.mode)
    else:
        run(options.name, options.id)


def run(name: str, saga_id: UUID) -> None:
    """Run one, and print how that ended."""
    from django_cqrs import bus
    from simplecqrs.errors import SagaMovedOn
    from tests.chaos.sagas.stories import Tale

    try:
        print("ended", bus.saga_definitions[name].run(bus, Tale(), saga_id=saga_id).status)
    except SagaMovedOn as error:
        print("ended", type(error).__name__)


def crash(name: str, mode: str) -> None:
    """Let it crash at each of its points, each time with a new id, for the bank keeps what was done."""
    from django.db import connection

    from django_cqrs import bus
    from tests.chaos.project.lab import fork
    from tests.chaos.sagas import going

    going.watch_sagas()
    way = partial(going.MODES[mode], bus.saga_definitions[name])
    connection.close()
    going.clear()
    points = fork(way=way)[1]
    for point in points:
        going.clear()
        going.Chosen.id = uuid4()
        died = fork(point, way=way)[0] == -signal.SIGKILL
        code, _ = fork(way=way)
        print(json.dumps({"crash": point, "died": died, "code": code, **found(name)}), flush=True)


def found(name: str) -> dict[str, Any]:
    """Return where the saga is, and what the bank has of it."""
    from tests.chaos.sagas import going
    from tests.chaos.sagas.bank import ask
    from tests.chaos.sagas.errands import BANK

    left, saga_id = going.findings(), str(going.Chosen.id)
    books = ask(BANK, "books")
    asked = {what: books["asked"].get(f"{name}:{saga_id}:step 1:{what}", 0) for what in ("act", "undo act")}
    return {"status": left.status, "left": [left.left(n) for n in range(3)], "asked": asked,
            "moved": books["moved"].get(saga_id, 0)}  # fmt: skip


if __name__ == "__main__":
    main()
