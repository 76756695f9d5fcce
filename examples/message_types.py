"""
Messages and answers may be attrs classes, dataclasses, pydantic models and msgspec structs, side by side.

The codec writes all of them in the same way.  It prints::

    attrs: Money(cents=1200)
    dataclass: Money(cents=2400)
    pydantic: Receipt(number=7, paid=True)
    msgspec: 42
    {"cart_id":7,"tip":"0.50"}
"""

from dataclasses import dataclass
from decimal import Decimal

import msgspec
import pydantic
from attrs import frozen

from simplecqrs import Command, Mediator, Query, handles, message
from simplecqrs.codec import JSONCodec


@frozen
class Money:
    cents: int


@frozen
class PriceOf(Query[Money]):  # attrs, with an answer in attrs
    product: str


@dataclass(frozen=True)
class PriceOfCart(Query[Money]):  # a dataclass, with an answer in attrs
    products: tuple[str, ...]


class Receipt(pydantic.BaseModel):
    number: int
    paid: bool


class PayCart(pydantic.BaseModel, Command[Receipt], frozen=True):  # pydantic, with an answer in pydantic
    cart_id: int
    tip: Decimal = Decimal(0)


@message(name="shop.count")  # for classes that take no keywords of ours
class CountProducts(msgspec.Struct, Query[int], frozen=True):  # msgspec, with a plain answer
    pass


@handles(PriceOf)
def price_of(query: PriceOf) -> Money:
    return Money(1200)


@handles(PriceOfCart)
def price_of_cart(query: PriceOfCart) -> Money:
    return Money(1200 * len(query.products))


@handles(PayCart)
def pay_cart(command: PayCart) -> Receipt:
    return Receipt(number=command.cart_id, paid=True)


@handles(CountProducts)
def count_products(query: CountProducts) -> int:
    return 42


bus = Mediator()
print("attrs:", bus.send(PriceOf("tea")))
print("dataclass:", bus.send(PriceOfCart(("tea", "cups"))))
print("pydantic:", repr(bus.send(PayCart(cart_id=7))))
print("msgspec:", bus.send(CountProducts()))

print(JSONCodec().encode(PayCart(cart_id=7, tip=Decimal("0.50"))).decode())
