"""
The demo's count: what the database and the mails say of every single order and event.
"""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
        from checkout import bank  # type: ignore[import-not-found]
        from checkout import models as checkout
        from django_cqrs import models as queues
        from orders.models import Order  # type: ignore[import-not-found]
        from reports import models as reports  # type: ignore[import-not-found]

        self.queues: Any = queues
        self.reports: Any = reports
        self.bank: Any = bank
        self.checkout: Any = checkout
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
        Count the mails about events by their Message-ID.
        """
        return Counter(mail_id for mail_id in self._all_mail_ids() if not mail_id.startswith("checkout."))

    def thanks(self) -> Counter[str]:
        """
        Count the mails that sagas have sent, by their Message-ID.
        """
        return Counter(mail_id for mail_id in self._all_mail_ids() if mail_id.startswith("checkout."))

    def _all_mail_ids(self) -> Iterator[str]:
        for file in self.mails.glob("*"):
            yield from re.findall(r"^Message-ID:\s+<(\S+)@", file.read_text(errors="replace"), re.MULTILINE)

    def payable_by_card(self, orders: Sequence[int]) -> int:
        """
        Return the first of these orders that the bank takes a card for.
        """
        payable = self.orders.filter(pk__in=orders, total__lte=self.bank.LIMIT)
        return int(payable.order_by("pk").values_list("pk", flat=True)[0])

    def sagas(self) -> Counter[str]:
        """
        Count the sagas by their status.
        """
        return Counter(self.queues.Saga.objects.values_list("status", flat=True))

    def duration(self, saga: str) -> float:
        """
        Return how many seconds a saga has taken, by the database's clock.
        """
        row = self.queues.Saga.objects.get(pk=saga)
        return float((row.updated_at - row.created_at).total_seconds())

    def checkouts(self) -> str:
        """
        Say what sagas have come to, and what they have left.
        """
        sagas = ", ".join(f"{number} {status}" for status, number in sorted(self.sagas().items()))
        charges, invoices = len(self.bank.booked()), self.checkout.Invoice.objects.filter(is_void=False).count()
        shipped = self.checkout.Parcel.objects.filter(state="shipped").count()
        return f"{sagas}: {charges} charges, {invoices} invoices, {shipped} parcels, {len(self.thanks())} thanks"

    def differences(self) -> Iterator[str]:
        """
        Say everything that is not as it has to be.
        """
        orders = dict(self.orders.values_list("pk", "state"))
        yield from self._histories(orders)
        yield from self._numbers(orders)
        yield from self._mails()
        yield from self._checkouts()
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

    def _checkouts(self) -> Iterator[str]:
        """
        Compare what each saga has left, in the database and outside of it, with what it has come to.
        """
        invoices = set(self.checkout.Invoice.objects.filter(is_void=False).values_list("pk", flat=True))
        parcels = dict(self.checkout.Parcel.objects.values_list("pk", "state"))
        booked, thanks = set(self.bank.booked()), self.thanks()
        for saga in self.queues.Saga.objects.all():
            order = json.loads(bytes(saga.state))["order_id"]
            paid = (f"checkout:{saga.pk}:charge:act" in booked) + (order in invoices)
            found = (paid, parcels.pop(order, ""), f"checkout.{saga.pk}.thank.act" in thanks)
            expected = (1, "shipped", True) if saga.status == "COMPLETED" else (0, "released", False)
            if found != expected or saga.status not in {"COMPLETED", "COMPENSATED"}:
                yield f"checkout of order {order}, {saga.status}: paid, parcel, thanks are {found}, not {expected}"
        if parcels:
            yield f"{len(parcels)} parcels belong to no checkout"
