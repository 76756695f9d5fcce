"""
A chain of responsibility: each way of paying says whether a payment is its own; the last one takes any.

It prints::

    paid 50 by card: approved
    paid 800 by PayPal: approved
    paid 90000 by bank transfer: approved
    paid 10 in shells: please call us
"""

from attrs import frozen

from simplecqrs import NOT_MINE, Command, DomainEvent, Mediator, NotMine, Publish, SyncRequestHandler, chain, handles


@frozen
class Pay(Command[str]):
    amount: int
    by: str


@frozen
class Paid(DomainEvent):
    amount: int
    by: str


def by_card(command: Pay, publish: Publish) -> str | NotMine:
    if command.by != "by card":
        return NOT_MINE
    publish(Paid(command.amount, command.by))
    return "approved"


def by_paypal(command: Pay, publish: Publish) -> str | NotMine:
    if command.by != "by PayPal":
        return NOT_MINE
    publish(Paid(command.amount, command.by))
    return "approved"


class ByTransfer(SyncRequestHandler[Pay, str | NotMine]):  # a class is a link as well
    def handle(self, command: Pay) -> str | NotMine:
        if command.by != "by bank transfer":
            return NOT_MINE
        self.publish(Paid(command.amount, command.by))
        return "approved"


def by_phone(command: Pay) -> str:
    return "please call us"


handles(Pay)(chain(by_card, by_paypal, ByTransfer, by_phone))
paid: list[Paid] = []


@handles(Paid)
def book(event: Paid) -> None:
    paid.append(event)


bus = Mediator()
for payment in (Pay(50, "by card"), Pay(800, "by PayPal"), Pay(90000, "by bank transfer"), Pay(10, "in shells")):
    print(f"paid {payment.amount} {payment.by}: {bus.send(payment)}")
assert len(paid) == 3  # the events of the link that answered
