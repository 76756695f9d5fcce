"""
Integration events leave the process: a notification says that something happened, an ECST event what is so now.

``Mediator(publisher=...)`` publishes at once and without a guarantee: a process that dies in the middle loses them.
In Django they go through the outbox instead, see ``outbox_django.py``.  It prints::

    topic users, key 1: user.joined {"user_id":1}
    topic users, key 1: user.state {"user_id":1,"name":"Ada","meetings":1}
"""

from attrs import frozen

from simplecqrs import Command, ECSTEvent, Mediator, NotificationEvent, Publish, handles
from simplecqrs.memory import MemoryBroker


@frozen
class Join(Command[None]):
    name: str


@frozen
class UserJoined(NotificationEvent, name="user.joined", topic="users", key="user_id"):
    user_id: int


@frozen
class UserState(ECSTEvent, name="user.state", topic="users", key="user_id"):
    user_id: int
    name: str
    meetings: int


@handles(Join)
def join(command: Join, publish: Publish) -> None:
    publish(UserJoined(1))
    publish(UserState(1, command.name, meetings=1))


broker = MemoryBroker()  # or RedisStreams("redis://127.0.0.1:6379/0") of simplecqrs.brokers.redis
bus = Mediator(publisher=broker, source="meetings")
bus.send(Join("Ada"))

for envelope in broker.published:
    print(f"topic {envelope.topic}, key {envelope.key}: {envelope.name} {envelope.payload.decode()}")
first, second = broker.published
assert first.metadata.correlation_id == second.metadata.correlation_id
