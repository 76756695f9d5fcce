"""
Events through the outbox into a broker, and from there into another service's inbox: nothing is lost, nothing twice.

The broker is one in memory; for Kafka, RabbitMQ or Redis only the setting BROKERS differs.  It prints::

    committed; the broker has 0 events
    relay: the memory broker was told to be down
    the broker is down; the broker has 0 events, the outbox 1
    the broker is back; the broker has 1 events, the outbox 0
    the broker repeats itself: 2 deliveries
    mailing: welcome 7
"""

import logging
from io import StringIO

import django
from attrs import frozen
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django_cqrs"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DJANGO_CQRS={
        "SOURCE": "users",
        "BROKERS": {"events": {"BACKEND": "simplecqrs.memory.MemoryBroker"}},
        "ROUTES": {"users": ["events"]},
        "CONSUMERS": {"mailing": {"broker": "events"}},
    },
    USE_TZ=True,
)
django.setup()
logging.disable()  # what fails is logged

from django.core.management import CommandError, call_command  # noqa: E402 - the settings come first
from django.db import transaction  # noqa: E402

from django_cqrs import bus  # noqa: E402
from django_cqrs.brokers import broker  # noqa: E402
from django_cqrs.models import Outbox  # noqa: E402
from simplecqrs import NotificationEvent, handles  # noqa: E402


@frozen
class UserJoined(NotificationEvent, name="user.joined", topic="users", key="user_id"):
    user_id: int


@handles(UserJoined, consumer="mailing")
def welcome(event: UserJoined) -> None:
    print("mailing: welcome", event.user_id)


def relay() -> None:
    try:
        call_command("cqrs_relay", "--once", stdout=StringIO())  # elsewhere a process of its own, which waits
    except CommandError as error:
        print("relay:", error)


def tell(what: str) -> None:
    waiting = Outbox.objects.count()
    print(f"{what}; the broker has {len(events.published)} events{f', the outbox {waiting}' if relayed else ''}")


call_command("migrate", verbosity=0)
events = broker("events")
relayed = False
with transaction.atomic():
    bus.publish(UserJoined(7))
tell("committed")

relayed, events.down = True, True
relay()
tell("the broker is down")

events.down = False
relay()
tell("the broker is back")

events.publish(events.published, deadline=1.0)  # as after a crash between its answer and our commit
print("the broker repeats itself:", len(events.published), "deliveries")
call_command("cqrs_consume", "--drain", stdout=StringIO())
