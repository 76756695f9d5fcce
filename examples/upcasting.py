"""
Events of older versions: an upcaster makes the fields of the next version of them.

It prints::

    an old payload: UserJoined(first_name='Ada', last_name='Lovelace')
"""

from typing import Any

from attrs import evolve, frozen

from simplecqrs import Mediator, NotificationEvent, handles
from simplecqrs.memory import MemoryBroker
from simplecqrs.upcasting import upcasts


@frozen
class UserJoined(NotificationEvent, name="user.joined", version=2):  # version 1 had a "name"
    first_name: str
    last_name: str


@upcasts(UserJoined, version=1)
def split_name(fields: dict[str, Any]) -> dict[str, Any]:
    first, _, last = fields.pop("name").partition(" ")
    return {**fields, "first_name": first, "last_name": last}


@handles(UserJoined, consumer="mailing")
def welcome(event: UserJoined) -> None:
    print("an old payload:", event)


broker = MemoryBroker()
bus = Mediator(publisher=broker)
bus.publish(UserJoined("Ada", "Lovelace"))
old = evolve(broker.published[0], version=1, payload=b'{"name": "Ada Lovelace"}')  # as an older release wrote it
bus.receive(old, consumer="mailing")
