"""
An event as protobuf in the outbox, next to one as JSON; the codec is chosen by the event's name.

Needs ``pip install "simplecqrs[protobuf]"``; ``proto/user_joined_pb2.py`` is made of ``proto/user_joined.proto`` by
``protoc``.  It prints::

    meetings.user_joined application/x-protobuf: 10 bytes
    orders.placed application/json: 15 bytes
    a reader of the .proto sees: user 7 in monday
    welcomed: UserJoined(user_id=7, meeting='monday')
"""

import django
from attrs import frozen
from django.conf import settings
from proto import user_joined_pb2

from simplecqrs import NotificationEvent, handles
from simplecqrs.codec.protobuf import ProtobufCodec


@frozen
class UserJoined(NotificationEvent, name="meetings.user_joined", topic="meetings", key="user_id"):
    user_id: int
    meeting: str


@frozen
class OrderPlaced(NotificationEvent, name="orders.placed", topic="orders"):
    order_id: int


PROTOBUF = ProtobufCodec({UserJoined: user_joined_pb2.UserJoined})

settings.configure(
    INSTALLED_APPS=["django_cqrs"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DJANGO_CQRS={"CODECS": {"meetings.*": f"{__name__}.PROTOBUF"}},
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command  # noqa: E402 - the settings come first
from django.db import transaction  # noqa: E402

from django_cqrs import bus  # noqa: E402
from django_cqrs.models import Outbox  # noqa: E402
from django_cqrs.testing import run_all  # noqa: E402


@handles(UserJoined, consumer="mailing")
def welcome(event: UserJoined) -> None:
    print("welcomed:", event)


call_command("migrate", verbosity=0)
with transaction.atomic():
    bus.publish(UserJoined(7, "monday"))
    bus.publish(OrderPlaced(12))

rows = Outbox.objects.order_by("id")
for row in rows:
    print(f"{row.name} {row.content_type or 'application/json'}: {len(row.payload)} bytes")
read = user_joined_pb2.UserJoined.FromString(bytes(rows[0].payload))
print(f"a reader of the .proto sees: user {read.user_id} in {read.meeting}")
run_all()
