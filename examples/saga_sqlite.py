"""
Sagas kept in a SQLite file: another process goes on where the first one was, and each has its log.

In Django they are in its tables, next to what their steps write.  It prints::

    the first process: reserve completed
    the second process: COMPLETED
    reserve: started, completed
    ship: started, completed
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from simplecqrs import Mediator
from simplecqrs.saga import Saga, Step, recover_one
from simplecqrs.saga.sqlite import SQLiteSagas


@frozen
class Order:
    product: str


def reserve(state: Order) -> None: ...
def release(state: Order) -> None: ...
def ship(state: Order) -> None: ...


checkout = Saga("checkout", Order, [Step("reserve", reserve, release), Step("ship", ship, pivot=True)])

with TemporaryDirectory() as folder:
    file = Path(folder) / "sagas.sqlite3"

    steps = checkout.steps(Mediator(sagas=SQLiteSagas(file)), Order("tea"))
    first = next(steps)
    print("the first process:", first.name, first.status)
    steps.close()

    bus = Mediator(sagas=SQLiteSagas(file))  # knows what is in the file, and nothing else
    print("the second process:", recover_one(bus, first.saga_id).status)
    history = bus.sagas.history(first.saga_id)
    for name in ("reserve", "ship"):
        print(f"{name}:", ", ".join(entry.event for entry in history if entry.step == name))
