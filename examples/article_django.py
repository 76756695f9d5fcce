"""
Users in a database: create, get, update, list and delete them over Django's ORM.

A whole project in one file; a real one has ``settings.py``, ``models.py`` and ``handlers.py``.  It prints::

    created 1: Ada <ada@example.org>
    now 1: Ada <countess@example.org>
    refused: no user called Grace
    listed: Ada
    left: 0 users
    mails to: ada@example.org
"""

from io import StringIO

import django
from attrs import frozen
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_cqrs"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402 - the settings come first
from django.core.management import call_command  # noqa: E402

from django_cqrs import bus  # noqa: E402
from simplecqrs import UNSET, Command, NotificationEvent, Publish, Query, Unset, handles  # noqa: E402


@frozen
class CreateUser(Command[int]):
    name: str
    email: str


@frozen
class UserCreated(NotificationEvent, key="user_id"):
    user_id: int
    email: str


@frozen
class UpdateUser(Command[None]):
    user_id: int
    email: str | Unset = UNSET


@frozen
class DeleteUser(Command[None]):
    user_id: int


@frozen
class GetUser(Query[User]):
    user_id: int


@frozen
class ListUsers(Query[list[str]]):
    pass


@handles(CreateUser)
def create_user(command: CreateUser, publish: Publish) -> int:
    user = User.objects.create(username=command.name, email=command.email)
    if command.name == "Grace":
        raise ValueError("no user called Grace")  # rolls the INSERT back
    publish(UserCreated(user.pk, user.email))
    return user.pk


@handles(UpdateUser)
def update_user(command: UpdateUser) -> None:
    if command.email is not UNSET:
        User.objects.filter(pk=command.user_id).update(email=command.email)


@handles(DeleteUser)
def delete_user(command: DeleteUser) -> None:
    User.objects.get(pk=command.user_id).delete()


@handles(GetUser)
def get_user(query: GetUser) -> User:
    return User.objects.get(pk=query.user_id)


@handles(ListUsers)
def list_users(query: ListUsers) -> list[str]:
    return list(User.objects.values_list("username", flat=True))


mails: list[str] = []


@handles(UserCreated, consumer="mailing")
def welcome(event: UserCreated) -> None:
    mails.append(event.email)


call_command("migrate", verbosity=0)

ada = bus.send(CreateUser("Ada", "ada@example.org"))
print(f"created {ada}:", "{0.username} <{0.email}>".format(bus.send(GetUser(ada))))
bus.send(UpdateUser(ada, email="countess@example.org"))
print(f"now {ada}:", "{0.username} <{0.email}>".format(bus.send(GetUser(ada))))
try:
    bus.send(CreateUser("Grace", "grace@example.org"))
except ValueError as error:
    print("refused:", error)
print("listed:", *bus.send(ListUsers()))
bus.send(DeleteUser(ada))
print("left:", len(bus.send(ListUsers())), "users")

call_command("cqrs_relay", "--consume", "--drain", stdout=StringIO())  # elsewhere a process of its own
print("mails to:", *mails)
