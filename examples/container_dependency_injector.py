"""
Dependencies from a container of dependency-injector.  It prints::

    <Users 1> has Ada
"""

from attrs import frozen
from dependency_injector import containers, providers

from simplecqrs import Command, Mediator, handles
from simplecqrs.containers.dependency_injector import DependencyInjectorContainer


class Users:
    def __repr__(self) -> str:
        return "<Users 1>"


@frozen
class Join(Command[None]):
    name: str


@handles(Join)
def join(command: Join, *, users: Users) -> None:
    print(users, "has", command.name)


class Application(containers.DeclarativeContainer):
    users = providers.ContextLocalSingleton(Users)


Mediator(container=DependencyInjectorContainer(Application())).send(Join("Ada"))
