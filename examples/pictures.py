"""
Pictures of what there is: a chain, a saga and the whole application, as text that Mermaid draws.

In Django ``manage.py cqrs_describe --mermaid`` and ``manage.py cqrs_sagas diagram`` print them.  It prints::

    chain_sequence: sequenceDiagram, 3 participants, names by_card
    chain_classes: classDiagram, 4 classes, names by_card
    saga_sequence: sequenceDiagram, 3 participants, names charge
    saga_flow: flowchart TD, names charge
    application_flow: flowchart LR, names Pay
"""

from attrs import frozen

from simplecqrs import NOT_MINE, Command, Mediator, NotMine, chain, handles
from simplecqrs.mermaid import application_flow, chain_classes, chain_sequence, saga_flow, saga_sequence
from simplecqrs.saga import NO_COMPENSATION, Saga, Step


@frozen
class Pay(Command[str]):
    by: str


def by_card(command: Pay) -> str | NotMine:
    return "approved" if command.by == "card" else NOT_MINE


def by_phone(command: Pay) -> str:
    return "please call us"


payment = chain(by_card, by_phone)
handles(Pay)(payment)


@frozen
class Checkout:
    order_id: int


def reserve(state: Checkout) -> None: ...
def release(state: Checkout) -> None: ...
def charge(state: Checkout) -> None: ...


checkout = Saga(
    "checkout", Checkout, [Step("reserve", reserve, release), Step("charge", charge, NO_COMPENSATION, pivot=True)]
)
pictures = {
    "chain_sequence": (chain_sequence(payment, Pay), "by_card"),
    "chain_classes": (chain_classes(payment, Pay), "by_card"),
    "saga_sequence": (saga_sequence(checkout), "charge"),
    "saga_flow": (saga_flow(checkout), "charge"),
    "application_flow": (application_flow(Mediator()), "Pay"),
}
for name, (text, named) in pictures.items():
    parts = [text.splitlines()[0]]
    for kind, plural in (("participant ", "participants"), ("class ", "classes")):
        count = sum(line.strip().startswith(kind) for line in text.splitlines())
        parts += [f"{count} {plural}"] if count else []
    print(f"{name}: {', '.join(parts)}, names {named if named in text else 'nothing'}")
