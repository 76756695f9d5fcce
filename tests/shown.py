"""
What the commands of the shop print, in a database with a story: orders, and a mail server that is down.

Run in ``example_project`` by ``test_docs_outputs.py``.  It reads pages with their command lines as JSON, and writes
what each command said; a page begins with the story as it was, and its commands see what the earlier ones did.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import django

FILE, STORY = (Path(os.environ["SHOP_DATA_DIR"]) / name for name in ("shop.sqlite3", "story.sqlite3"))


class MailServerIsDown:
    """A mail backend."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take whatever backends are given."""

    def send_messages(self, messages: Any) -> int:
        """Refuse."""
        raise ConnectionRefusedError(111, "Connection refused")


def configure() -> None:
    """Set the shop up: nobody gets a mail, and few attempts are made."""
    from django.conf import settings

    backend = f"{MailServerIsDown.__module__}.{MailServerIsDown.__qualname__}"
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": backend}}
    else:
        settings.EMAIL_BACKEND = backend
    settings.LOGGING_CONFIG = None
    from simplecqrs import Retry

    settings.DJANGO_CQRS["CONSUMERS"]["mailing"]["retry"] = Retry(2, first=0)
    django.setup()
    import logging

    logging.disable()


def tell() -> None:
    """Let orders be placed, paid and checked out; no mail goes out; one event has not left yet."""
    from django.core.management import call_command

    from django_cqrs import bus
    from orders.messages import CancelOrder, CheckOut, PayOrder, PlaceOrder  # type: ignore[import-not-found]

    call_command("migrate", verbosity=0)
    call_command("loaddata", "products", "items", verbosity=0)
    for who, product, quantity in (("ada", "tea", 2), ("bob", "coffee", 1), ("eve", "honey", 1), ("kim", "tea", 9)):
        bus.send(PlaceOrder(f"{who}@example.org", product, quantity))
        work()  # one after the other, for lanes are taken by lot
    bus.send(PayOrder(1))
    bus.send(CheckOut(3))
    work()
    bus.send(CheckOut(4))
    work()
    bus.send(PlaceOrder("joe@example.org", "cup", 1))
    bus.defer(CancelOrder(2), due=timedelta(days=1))
    wait()


def work() -> None:
    """Ship and handle all there is."""
    from django.core.management import call_command

    call_command("cqrs_relay", "--drain", "--consume", stdout=StringIO())


def wait() -> None:
    """Have it be some minutes ago, or days: nobody has purged."""
    from django.utils import timezone

    from django_cqrs.models import Blocked, Dead, Outbox, Seen

    Outbox.objects.update(created_at=timezone.now() - timedelta(seconds=412))
    Seen.objects.filter(consumer="mailing").update(seen_at=timezone.now() - timedelta(days=20))
    for kind, minutes in ((Dead, 25), (Blocked, 27)):
        kind.objects.update(since=timezone.now() - timedelta(minutes=minutes))


def run(line: str) -> str:
    """Run one command, and return what it said."""
    from django.core.management import CommandError, call_command

    said = StringIO()
    name, *arguments = [word for word in shlex.split(line, comments=True) if word not in {"python", "manage.py"}]
    try:
        call_command(name, *arguments, stdout=said, no_color=True)
    except CommandError as error:
        said.write(f"CommandError: {error}\n")
    return said.getvalue()


def main() -> None:
    """Tell the story once, and run what each page shows."""
    from django.db import connection

    configure()
    tell()
    connection.close()
    shutil.copy(FILE, STORY)
    pages = json.load(sys.stdin)
    answers = {}
    for page, lines in pages.items():
        shutil.copy(STORY, FILE)
        answers[page] = [run(line) for line in lines]
        connection.close()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
