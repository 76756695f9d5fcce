"""
The inbox: what was delivered twice is handled once, what fails is tried again, and at last waits for a person.

It prints::

    attempt on 2
    attempt on 2
    3 were delivered, 2 were let in; welcome 1
    dead: user.joined, after 2 attempts: ValueError: no address for 2
    his address is known now; welcome 1, 2
    dead letters: 0
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
        "BROKERS": {"events": {"BACKEND": "simplecqrs.memory.MemoryBroker"}},
        "ROUTES": {"users": ["events"]},
        "CONSUMERS": {"mailing": {"broker": "events"}},
    },
    USE_TZ=True,
)
django.setup()
logging.disable()  # what fails is logged

from django.core.management import call_command  # noqa: E402 - the settings come first

from django_cqrs.brokers import broker  # noqa: E402
from django_cqrs.models import Dead, Seen  # noqa: E402
from simplecqrs import Mediator, NotificationEvent, Registry, Retry, handles  # noqa: E402

addresses = {1: "ada@example.org"}
welcomed: list[int] = []


@frozen
class UserJoined(NotificationEvent, name="user.joined", topic="users", key="user_id"):
    user_id: int


@handles(UserJoined, consumer="mailing", retry=Retry(2, first=0))
def welcome(event: UserJoined) -> None:
    if event.user_id not in addresses:
        print("attempt on", event.user_id)
        raise ValueError(f"no address for {event.user_id}")
    welcomed.append(event.user_id)


call_command("migrate", verbosity=0)
events = broker("events")
elsewhere = Mediator(Registry(), publisher=events, source="users")  # another service, which sends
elsewhere.publish(UserJoined(2))
elsewhere.publish(UserJoined(1))
events.publish(events.published[1:], deadline=1.0)  # as after its crash

call_command("cqrs_consume", "--drain", stdout=StringIO())
print(f"{len(events.published)} were delivered, {Seen.objects.count()} were let in; welcome", *welcomed)
letter = Dead.objects.get()
print(f"dead: {letter.name}, after {letter.attempts} attempts: {letter.reason.splitlines()[-1]}")

addresses[2] = "alan@example.org"
call_command("cqrs_dead", "retry", letter.pk, "--reason", "his address is known now", stdout=StringIO())
call_command("cqrs_consume", "--drain", stdout=StringIO())
print("his address is known now; welcome", ", ".join(map(str, welcomed)))
print("dead letters:", Dead.objects.count())
