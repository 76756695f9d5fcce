"""
A batch of orders, item by item; each item's event has four handlers, at most three of which run at a time.

The events of an item are handled before that item is handed out.  It prints::

    order 1 packed: audit, mail, push, stock
    order 2 packed: audit, mail, push, stock
    order 3 packed: audit, mail, push, stock
    at most 3 at a time
"""

import threading
from collections.abc import Iterator
from time import sleep

from attrs import frozen

from simplecqrs import DomainEvent, Mediator, Publish, Stream, handles


@frozen
class PackOrders(Stream[int]):
    order_ids: tuple[int, ...]


@frozen
class Packed(DomainEvent):
    order_id: int


@handles(PackOrders, transaction="item")  # a stream that writes, and so may publish
def pack_orders(stream: PackOrders, publish: Publish) -> Iterator[int]:
    for order_id in stream.order_ids:
        publish(Packed(order_id))
        yield order_id


class Gauge:
    def __init__(self) -> None:
        self.lock, self.running, self.most = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.running -= 1


gauge, done = Gauge(), set[str]()


def work(what: str) -> None:
    with gauge:
        sleep(0.01)
        done.add(what)


handles(Packed)(lambda event: work("audit"))
handles(Packed)(lambda event: work("mail"))
handles(Packed)(lambda event: work("push"))
handles(Packed)(lambda event: work("stock"))

bus = Mediator(event_workers=3)
for order_id in bus.stream(PackOrders((1, 2, 3))):
    print(f"order {order_id} packed:", ", ".join(sorted(done)))
    done.clear()
print("at most", gauge.most, "at a time")
