"""
A sender that is never sure: it sends commands under idempotency keys, all of them over and over, and notes each answer.

Run as ``python -m tests.chaos.project.again --keys 100``; others do the same beside it, until a file ``enough`` is in
CHAOS_FOLDER.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path


def main() -> None:
    """Send."""
    import django

    django.setup()
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, required=True)
    folder = Path(os.environ["CHAOS_FOLDER"])
    numbers = list(range(parser.parse_args().keys))
    with (folder / f"journal-again-{os.getpid()}.jsonl").open("ab", buffering=0) as journal:
        while True:
            is_last = (folder / "enough").exists()
            random.shuffle(numbers)
            for number in numbers:
                line = {"what": "answer", "number": number, "version": send(number)}
                journal.write(json.dumps(line).encode() + b"\n")
            if is_last:
                return


def send(number: int) -> int:
    """Send a command under its key; every third one shares its counter with others."""
    from django_cqrs import bus
    from tests.chaos.project.faults import at
    from tests.chaos.project.messages import Bump

    at("send")
    return bus.send(Bump(f"k{number % 3}", f"deed {number}"), idempotency_key=f"key {number}")


if __name__ == "__main__":
    main()
