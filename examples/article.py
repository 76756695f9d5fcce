"""
Users, kept in memory: create, get, update, list and delete them.

The same over Django's ORM is in ``article_django.py``.  It prints::

    created User(id=1, name='Ada', email='ada@example.org')
    now User(id=1, name='Ada', email='countess@example.org')
    Ada <countess@example.org>, Grace <grace@example.org>
    refused: there is no user 7
    left: Grace
"""

from attrs import evolve, field, frozen, validators

from simplecqrs import UNSET, Command, Mediator, Query, Unset, handles


@frozen
class User:
    id: int
    name: str
    email: str


class Users(dict[int, User]):
    """The users by their ids."""


class NoSuchUser(LookupError):
    """Raised for an id that no user has."""


@frozen
class CreateUser(Command[int]):
    name: str = field(validator=validators.min_len(2))  # a command is checked when it is made
    email: str = field(validator=validators.matches_re(r"\S+@\S+"))


@frozen
class UpdateUser(Command[None]):
    user_id: int
    name: str | Unset = UNSET  # "leave it": None and "" are values like others
    email: str | Unset = UNSET


@frozen
class DeleteUser(Command[None]):
    user_id: int


@frozen
class GetUser(Query[User]):
    user_id: int


@frozen
class ListUsers(Query[list[User]]):
    pass


@handles(CreateUser)
def create_user(command: CreateUser, *, users: Users) -> int:
    user_id = max(users, default=0) + 1
    users[user_id] = User(user_id, command.name, command.email)
    return user_id


@handles(GetUser)
def get_user(query: GetUser, *, users: Users) -> User:
    if query.user_id not in users:
        raise NoSuchUser(f"there is no user {query.user_id}")
    return users[query.user_id]


@handles(UpdateUser)
def update_user(command: UpdateUser, *, users: Users) -> None:
    user = get_user(GetUser(command.user_id), users=users)  # a handler is a function
    if command.name is not UNSET:
        user = evolve(user, name=command.name)
    if command.email is not UNSET:
        user = evolve(user, email=command.email)
    users[user.id] = user


@handles(DeleteUser)
def delete_user(command: DeleteUser, *, users: Users) -> None:
    del users[command.user_id]


@handles(ListUsers)
def list_users(query: ListUsers, *, users: Users) -> list[User]:
    return list(users.values())


database = Users()
bus = Mediator(provide={Users: lambda: database})

ada = bus.send(CreateUser("Ada", "ada@example.org"))
print("created", bus.send(GetUser(ada)))

bus.send(UpdateUser(ada, email="countess@example.org"))
print("now", bus.send(GetUser(ada)))

bus.send(CreateUser("Grace", "grace@example.org"))
print(", ".join(f"{user.name} <{user.email}>" for user in bus.send(ListUsers())))

try:
    bus.send(UpdateUser(7, name="Nobody"))
except NoSuchUser as error:
    print("refused:", error)

bus.send(DeleteUser(ada))
print("left:", *(user.name for user in bus.send(ListUsers())))
