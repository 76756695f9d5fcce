"""
A fallback with a breaker: the cache answers where the bank fails, and after three failures the bank is left alone.

Needs ``pip install "simplecqrs[breaker]"``.  It prints::

    refused: there is no currency XXX
    1.1 from the cache, 5 times
    the bank was asked 4 times
"""

import logging

from attrs import frozen

from simplecqrs import Mediator, Query, fallback, handles
from simplecqrs.breakers import NamedBreaker

logging.disable()  # a warning says that the backup answers, with the reason


@frozen
class GetRate(Query[float]):
    currency: str


asked: list[GetRate] = []


def from_bank(query: GetRate) -> float:
    asked.append(query)
    if query.currency == "XXX":
        raise ValueError("there is no currency XXX")
    raise ConnectionError("the bank does not answer")


def from_cache(query: GetRate) -> float:
    return 1.1


bank = NamedBreaker("bank", fail_max=3, reset_seconds=60)
handles(GetRate)(fallback(from_bank, from_cache, on=ConnectionError, breaker=bank))
bus = Mediator()

try:
    bus.send(GetRate("XXX"))
except ValueError as error:  # not what on= names: it reaches the caller, and says nothing against the bank
    print("refused:", error)

rates = [bus.send(GetRate("USD")) for _ in range(5)]
print(rates[0], "from the cache,", len(rates), "times")
print("the bank was asked", len(asked), "times")
