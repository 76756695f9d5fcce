"""
The shop's orders in one process: placed, paid, shipped to the broker that SHOP_BROKER names, fetched and handled.

Run in ``example_project`` by ``test_example_project``; fails with each order that did not have its effects once.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

ORDERS = 40
SECONDS = 8


def main() -> int:
    """Order, ship, handle, and count."""
    scripts = Path(__file__).resolve().parent.parent / "scripts"
    sys.path.insert(0, str(scripts))
    from census import Census  # type: ignore[import-not-found]

    folder = Path(os.environ["SHOP_DATA_DIR"])
    census = Census(os.environ, folder / "mails")
    from django.conf import settings
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("loaddata", "products", "items", verbosity=0)
    call_command("cqrs_consume", "--once")  # some brokers keep nothing for those who have not subscribed
    file = folder / "orders.csv"
    file.write_text("email,product,quantity\n" + "ada@example.org,tea,1\n" * ORDERS)
    call_command("import_orders", str(file))
    settle()
    call_command("cqrs_consume", "sagas", "--drain")
    call_command("cqrs_relay", "--drain")
    until = time.monotonic() + SECONDS  # some brokers have nothing yet when they are asked first
    while time.monotonic() < until and not (census.is_done("reports") and census.is_done("mailing")):
        call_command("cqrs_consume", "--drain")
    differences = list(census.differences())
    print(*differences, f"{census.histories()} of {ORDERS} orders, by {settings.BROKER}", sep="\n")
    return 1 if differences or census.histories() != ORDERS or census.sagas()["COMPLETED"] != ORDERS // 4 else 0


def settle() -> None:
    """Pay every second order, cancel every fourth, and check the others out."""
    from django_cqrs import bus
    from orders.messages import CancelOrder, CheckOut, PayOrder  # type: ignore[import-not-found]
    from orders.models import Order  # type: ignore[import-not-found]

    for number, order in enumerate(Order.objects.values_list("pk", flat=True)):
        if number % 2 == 0:
            bus.send(PayOrder(order))
        elif number % 4 == 1:
            bus.send(CancelOrder(order))
        else:
            bus.send(CheckOut(order))


if __name__ == "__main__":
    sys.exit(main())
