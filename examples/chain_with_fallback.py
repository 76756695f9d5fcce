"""
A chain whose bank is down: a fallback is a link, and a chain may be what a fallback falls back to.

It prints::

    voucher: paid by voucher
    card: noted, to be charged tonight
    nothing: nobody answered
"""

import logging

from attrs import frozen

from simplecqrs import NOT_MINE, Command, Mediator, NotMine, chain, fallback, handles
from simplecqrs.errors import NobodyAnswered

logging.disable()  # a warning says that the backup answers, with the reason


@frozen
class Pay(Command[str]):
    amount: int
    means: str


def by_voucher(command: Pay) -> str | NotMine:
    return "paid by voucher" if command.means == "voucher" else NOT_MINE


def by_card(command: Pay) -> str | NotMine:
    if command.means != "card":
        return NOT_MINE
    raise ConnectionError("the bank does not answer")


def charge_tonight(command: Pay) -> str | NotMine:
    return "noted, to be charged tonight"


handles(Pay)(chain(by_voucher, fallback(by_card, charge_tonight, on=ConnectionError)))

bus = Mediator()
print("voucher:", bus.send(Pay(10, "voucher")))
print("card:", bus.send(Pay(10, "card")))
try:
    bus.send(Pay(10, "nothing"))
except NobodyAnswered:
    print("nothing: nobody answered")
