"""
Commands change something, queries look something up; both have one handler, and an answer of a known type.

It prints::

    4 people joined: ['Ada', 'Alan', 'Edsger', 'Grace']
    Marcel is handled by nobody: Leave has no handler
"""

from attrs import frozen

from simplecqrs import Command, Mediator, Query, Registry
from simplecqrs.errors import HandlerNotFound


@frozen
class Join(Command[None]):
    name: str


@frozen
class Leave(Command[None]):
    name: str


@frozen
class Members(Query[list[str]]):
    starting_with: str = ""


members: set[str] = set()
registry = Registry()  # instead of the global ``handles``


@registry.handles(Join)
def join(command: Join) -> None:
    members.add(command.name)


@registry.handles(Members)
def find_members(query: Members) -> list[str]:
    return sorted(name for name in members if name.startswith(query.starting_with))


bus = Mediator(registry)
for name in ("Ada", "Grace", "Edsger", "Alan"):
    bus.send(Join(name))
found = bus.send(Members())  # type checkers know: list[str]
print(len(found), "people joined:", found)
assert bus.send(Members(starting_with="A")) == ["Ada", "Alan"]

try:
    bus.send(Leave("Marcel"))
except HandlerNotFound as error:
    print("Marcel is handled by nobody:", str(error).partition(";")[0])
