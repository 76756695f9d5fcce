"""
Dependencies from a container of wireup.  It prints::

    <Users 1> has Ada
"""

import wireup
from attrs import frozen

from simplecqrs import Command, Mediator, handles
from simplecqrs.containers.wireup import WireupContainer


class Users:
    def __repr__(self) -> str:
        return "<Users 1>"


@frozen
class Join(Command[None]):
    name: str


@handles(Join)
def join(command: Join, *, users: Users) -> None:
    print(users, "has", command.name)


container = wireup.create_sync_container(injectables=[wireup.injectable(Users, lifetime="scoped")])
Mediator(container=WireupContainer(container)).send(Join("Ada"))
