"""
A consumer takes events off a broker: what fails is tried again and then a dead letter; garbage is one at once.

In Django ``manage.py cqrs_consume`` does this, with the inbox in tables.  It prints::

    welcome 1
    attempt on 2
    attempt on 2
    welcome 3
    dead: garbage no JSON
    dead: user.joined ValueError: no address for 2
    tried again: welcome 2
"""

import logging

from attrs import frozen

from simplecqrs import Mediator, NotificationEvent, Retry, handles
from simplecqrs.consumer import Consumer, Policy
from simplecqrs.fetcher import Fetcher
from simplecqrs.loop import Loop
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_queue import MemoryQueue
from simplecqrs.transport import Garbage

logging.disable()  # the consumer logs each failure, with its traceback


@frozen
class UserJoined(NotificationEvent, name="user.joined", topic="users", key="meeting"):
    user_id: int
    meeting: str = "monday"


addresses = {1: "ada@example.org", 3: "grace@example.org"}


@handles(UserJoined, consumer="mailing")
def welcome(event: UserJoined) -> None:
    if event.user_id not in addresses:
        print("attempt on", event.user_id)
        raise ValueError(f"no address for {event.user_id}")
    print("welcome", event.user_id)


broker = MemoryBroker()
bus = Mediator(publisher=broker, source="meetings")
inbox = MemoryQueue("inbox")
fetcher = Fetcher(consumer="mailing", inbox=inbox, feeds=broker.feeds("mailing", ["users"]))
worker = Consumer(
    consumer="mailing",
    storage=inbox,
    receive=lambda envelope: bus.receive(envelope, consumer="mailing"),
    policy=lambda envelope: Policy(Retry(2, first=0), on_dead="continue"),  # the meeting goes on without it
)

for user_id in (1, 2, 3):
    bus.publish(UserJoined(user_id))
broker.litter("users", Garbage("no JSON", b"{"))

Loop([fetcher, worker]).run(drain=True)
for letter in inbox.letters():
    print("dead:", letter.name or "garbage", letter.cause)

addresses[2] = "alan@example.org"  # somebody mends it, and says: again
inbox.retry(next(letter.id for letter in inbox.letters() if letter.name == "user.joined"))
print("tried again:", end=" ")
Loop([worker]).run(drain=True)
