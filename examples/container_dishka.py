"""
Dependencies from a container of dishka.  It prints::

    <Users 1> has Ada
"""

import dishka
from attrs import frozen

from simplecqrs import Command, Mediator, handles
from simplecqrs.containers.dishka import DishkaContainer


class Users:
    def __repr__(self) -> str:
        return "<Users 1>"


@frozen
class Join(Command[None]):
    name: str


@handles(Join)
def join(command: Join, *, users: Users) -> None:
    print(users, "has", command.name)


provider = dishka.Provider(scope=dishka.Scope.REQUEST)
provider.provide(Users)
container = dishka.make_container(provider)
Mediator(container=DishkaContainer(container)).send(Join("Ada"))
