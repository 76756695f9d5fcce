"""A process of a release that does what it is told on its standard input, and says when it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import django
from django.conf import settings
from django.db import transaction

KEYS = 5
#: Seconds that the longest transaction of this process has taken, its commit included.
longest = 0.0


@contextmanager
def timed() -> Generator[None, None, None]:
    """Remember how long the longest transaction took."""
    global longest  # noqa: PLW0603 - of this process
    began = time.monotonic()
    with transaction.atomic():
        yield
    longest = max(longest, time.monotonic() - began)


def produce(rounds: int) -> None:
    """Tell, defer and begin everything that this release has, under a few keys, each in a transaction of its own."""
    from django_cqrs import bus
    from tests.chaos.releases.models import Told

    shop: Any = import_module(f"tests.chaos.releases.{settings.RELEASE}.handlers")

    def tell(what: str, key: str, number: int) -> None:
        Told.objects.create(what=what, key=key, number=number, release=settings.RELEASE)

    for turn in range(rounds):
        key = f"k{turn % KEYS}"
        for what, message in [*shop.EVENTS.items(), *shop.COMMANDS.items()]:
            with timed():
                number = Told.objects.filter(key=key).count()
                tell(what, key, number)
                do = bus.publish if what in shop.EVENTS else bus.defer
                do(message(key, number))
        with timed():
            number = Told.objects.filter(key="saga").count()
            for what in shop.STEPS:
                tell(what, "saga", number)
            shop.delivery.start(bus, shop.FIRST("saga", number))


def relay() -> None:
    """Ship what waits."""
    from django_cqrs.loops import run
    from django_cqrs.relay import relays

    run(relays(), drain=True)


def consume() -> None:
    """Handle what can be handled, as a worker that was started anew."""
    from django_cqrs.consumers import consumer_names, consumers
    from django_cqrs.loops import run
    from django_cqrs.mediator import project_mediator
    from django_cqrs.releases import end_waits

    jobs = consumers()
    end_waits(consumer_names(project_mediator()))
    run(jobs, drain=True)


def read(seconds: int) -> None:
    """Look at the outbox in a transaction that stays open for so long, as a report or a backup does."""
    from django_cqrs.models import Outbox

    with transaction.atomic():
        Outbox.objects.count()
        time.sleep(seconds)


def main() -> None:
    """Do what comes, line by line."""
    django.setup()
    print("ready", flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        {"produce": produce, "relay": relay, "consume": consume, "read": read}[command](*map(int, numbers))
        print(f"done {longest}", flush=True)


if __name__ == "__main__":
    main()
