"""
A handler of an event with a backup; what the first one has published before it failed is taken back.

It prints::

    mail server down
    letter to Ada
    booked: 1 stamp
"""

import logging

from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, Publish, SyncEventHandler, fallback, handles

logging.disable()  # a warning says that the backup answers, with the reason


@frozen
class Join(Command[None]):
    name: str


@frozen
class Joined(DomainEvent):
    name: str


@frozen
class Booked(DomainEvent):
    what: str


class SendMail(SyncEventHandler[Joined]):
    def handle(self, event: Joined) -> None:
        self.publish(Booked("1 mail"))
        print("mail server down")
        raise ConnectionError


class SendLetter(SyncEventHandler[Joined]):
    def handle(self, event: Joined) -> None:
        print("letter to", event.name)
        self.publish(Booked("1 stamp"))


@handles(Join)
def join(command: Join, publish: Publish) -> None:
    publish(Joined(command.name))


@handles(Booked)
def book(event: Booked) -> None:
    print("booked:", event.what)


handles(Joined)(fallback(SendMail, SendLetter, on=OSError))
Mediator().send(Join("Ada"))
