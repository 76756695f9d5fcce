"""
The demo's count: what the database and the mails say of every single order and event.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from stage import PROJECT

CONSUMERS = ("reports", "mailing")
STEPS = {"placed": ("placed",), "paid": ("placed", "paid"), "cancelled": ("placed", "cancelled")}


class Census:
    """
    Reads the shop's tables; made once, since it sets up Django.
    """

    def __init__(self, env: Mapping[str, str], mails: Path) -> None:
        import django

        os.environ.update(env, DJANGO_SETTINGS_MODULE="shop.settings")
        sys.path.insert(0, str(PROJECT))
        django.setup()
        from django_cqrs import models as queues
        from orders.models import Order  # type: ignore[import-not-found]
        from reports import models as reports  # type: ignore[import-not-found]

        self.queues: Any = queues
        self.reports: Any = reports
        self.orders: Any = Order.objects
        self.mails = mails

    def placed(self) -> int:
        return int(self.orders.count())

    def published(self) -> int:
        """
        Count the events that there must be: one for each step of each order.
        """
        return sum(len(STEPS[state]) for state in self.orders.values_list("state", flat=True))

    def unshipped(self) -> int:
        return int(self.queues.Outbox.objects.count() + self.queues.ParkedOutbox.objects.count())

    def received(self, consumer: str) -> int:
        return int(self.queues.Seen.objects.filter(consumer=consumer).count())

    def unhandled(self, consumer: str) -> int:
        boxes = (self.queues.Inbox, self.queues.ParkedInbox)
        return sum(box.objects.filter(queue=consumer).count() for box in boxes)

    def progress(self) -> str:
        waiting = "".join(f", {self.unhandled(name):,} in the inbox of {name}" for name in CONSUMERS)
        return f"{self.placed():,} orders so far; {self.unshipped():,} events in the outbox{waiting}"

    def is_done(self, consumer: str) -> bool:
        return self.received(consumer) == self.published() and not self.unhandled(consumer)

    def histories(self) -> int:
        return int(self.reports.OrderHistory.objects.count())

    def mail_ids(self) -> Counter[str]:
        """
        Count the mails by their Message-ID.
        """
        texts = (file.read_text(errors="replace") for file in self.mails.glob("*"))
        return Counter(mail_id for text in texts for mail_id in re.findall(r"^Message-ID: <(\S+)@", text, re.MULTILINE))

    def differences(self) -> Iterator[str]:
        """
        Say everything that is not as it has to be.
        """
        orders = dict(self.orders.values_list("pk", "state"))
        yield from self._histories(orders)
        yield from self._numbers(orders)
        yield from self._mails()
        if dead := self.queues.Dead.objects.count():
            yield f"{dead} messages were given up; see manage.py cqrs_dead list"

    def _histories(self, orders: Mapping[int, str]) -> Iterator[str]:
        """
        Compare the report's row of each order with what has happened to it.
        """
        fields = ("placed", "paid", "cancelled", "state")
        found = {row[0]: row[1:] for row in self.reports.OrderHistory.objects.values_list("pk", *fields)}
        for order, state in orders.items():
            expected = (*(int(step in STEPS[state]) for step in fields[:3]), state)
            if found.get(order) != expected:
                yield f"order {order}: the report has {found.get(order)} of {fields}; it has to be {expected}"
        for order in found.keys() - orders.keys():
            yield f"order {order} is in the report, but was never placed"

    def _numbers(self, orders: Mapping[int, str]) -> Iterator[str]:
        """
        Compare sums: they were added up one by one.
        """
        states = {state: count for state, count in self.reports.StateCount.objects.values_list() if count}
        if states != dict(Counter(orders.values())):
            yield f"orders by state: the report says {states}; it has to be {dict(Counter(orders.values()))}"
        days = list(self.reports.Day.objects.values_list("orders", "paid", "turnover"))
        reported = tuple(sum(column) for column in zip(*days, strict=True))
        paid = list(self.orders.filter(state="paid").values_list("total", flat=True))
        expected = (len(orders), len(paid), sum(paid, Decimal(0)))
        if reported != expected:
            yield f"orders, paid, turnover: the report says {reported}; it has to be {expected}"

    def _mails(self) -> Iterator[str]:
        events = {
            str(key) for key in self.queues.Seen.objects.filter(consumer="mailing").values_list("message_id", flat=True)
        }
        mails = self.mail_ids().keys()
        if len(events) != self.published():
            yield f"{len(events)} events were received for mails, not {self.published()}"
        if mails != events:
            yield f"{len(events - mails)} events have no mail, {len(mails - events)} mails have no event"
