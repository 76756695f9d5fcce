"""
Handlers as classes, with their dependencies in ``__init__``: as diator and python-cqrs have them.

It prints::

    hello Ada, you are number 1
    1
"""

from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, SyncEventHandler, SyncRequestHandler, handles


class Users:
    def __init__(self) -> None:
        self.names: list[str] = []


@frozen
class JoinMeeting(Command[int]):
    name: str


@frozen
class UserJoined(DomainEvent):
    name: str
    number: int


@handles(JoinMeeting)
class JoinMeetingHandler(SyncRequestHandler[JoinMeeting, int]):
    def __init__(self, users: Users) -> None:
        self.users = users

    def handle(self, command: JoinMeeting) -> int:
        self.users.names.append(command.name)
        number = len(self.users.names)
        self.publish(UserJoined(command.name, number))
        return number


@handles(UserJoined)
class Greet(SyncEventHandler[UserJoined]):
    def handle(self, event: UserJoined) -> None:
        print(f"hello {event.name}, you are number {event.number}")


bus = Mediator(provide={Users: Users})
print(bus.send(JoinMeeting("Ada")))
