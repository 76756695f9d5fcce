"""
Dependencies by type: handlers take them by keyword, factories as parameters; a generator cleans up after itself.

It prints::

    connected
    INSERT Ada
    disconnected
    this mediator cannot work: nothing provides Connection
"""

from collections.abc import Iterator
from typing import Protocol

from attrs import frozen

from simplecqrs import Command, Mediator, handles
from simplecqrs.errors import NotConfigured


class Connection:
    def execute(self, statement: str) -> None:
        print(statement)


class Users(Protocol):  # what the handler needs, whoever does it
    def add(self, name: str) -> None: ...


@frozen
class SQLUsers:
    connection: Connection

    def add(self, name: str) -> None:
        self.connection.execute(f"INSERT {name}")


def connect() -> Iterator[Connection]:
    print("connected")
    yield Connection()
    print("disconnected")  # when the message and all that it caused is done


@frozen
class CreateUser(Command[None]):
    name: str


@handles(CreateUser)
def create_user(command: CreateUser, *, users: Users, connection: Connection) -> None:
    users.add(command.name)


bus = Mediator(provide={Connection: connect, Users: SQLUsers})  # of SQLUsers, ``__init__`` says what it needs
bus.send(CreateUser("Ada"))

forgetful = Mediator(provide={Users: lambda: SQLUsers(Connection())})
try:
    forgetful.check()  # what a missing dependency is found by; the first message would do so as well
except NotConfigured as error:
    print("this mediator cannot work: nothing provides", "Connection" if "Connection" in str(error) else "?")
