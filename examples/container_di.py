"""
Dependencies from a container of di.  It prints::

    <Users 1> has Ada
"""

from attrs import frozen
from di import Container, bind_by_type
from di.dependent import Dependent

from simplecqrs import Command, Mediator, handles
from simplecqrs.containers.di import DiContainer


class Users:
    def __repr__(self) -> str:
        return "<Users 1>"


@frozen
class Join(Command[None]):
    name: str


@handles(Join)
def join(command: Join, *, users: Users) -> None:
    print(users, "has", command.name)


container = Container()
container.bind(bind_by_type(Dependent(Users, scope="message"), Users))
Mediator(container=DiContainer(container, scope="message")).send(Join("Ada"))
