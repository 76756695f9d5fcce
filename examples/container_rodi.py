"""
Dependencies from a container of rodi.  It prints::

    <Users 1> has Ada
"""

import rodi
from attrs import frozen

from simplecqrs import Command, Mediator, handles
from simplecqrs.containers.rodi import RodiContainer


class Users:
    def __repr__(self) -> str:
        return "<Users 1>"


@frozen
class Join(Command[None]):
    name: str


@handles(Join)
def join(command: Join, *, users: Users) -> None:
    print(users, "has", command.name)


container = rodi.Container()
container.add_scoped(Users)
Mediator(container=RodiContainer(container)).send(Join("Ada"))
