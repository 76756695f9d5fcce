"""
Dependencies from a registry of svcs.  It prints::

    <Users 1> has Ada
"""

import svcs
from attrs import frozen

from simplecqrs import Command, Mediator, handles
from simplecqrs.containers.svcs import SvcsContainer


class Users:
    def __repr__(self) -> str:
        return "<Users 1>"


@frozen
class Join(Command[None]):
    name: str


@handles(Join)
def join(command: Join, *, users: Users) -> None:
    print(users, "has", command.name)


registry = svcs.Registry()
registry.register_factory(Users, Users)
Mediator(container=SvcsContainer(registry)).send(Join("Ada"))
