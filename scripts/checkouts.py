"""
The demo's checkouts: sagas, one of which is killed in its middle, between a charge and the note that it was booked.
"""

from collections.abc import Sequence
from pathlib import Path

from census import Census
from customers import Shop
from stage import Failed, Stage

CONSUMER = "consumer sagas"
ENDED = {"COMPLETED", "COMPENSATED"}


def begin_and_kill(stage: Stage, shop: Shop, census: Census, order: int) -> str:
    """
    Begin a checkout, and kill who works on it when the bank has booked and has not answered yet; return its id.
    """
    slow = Path(stage.env["SHOP_DATA_DIR"]) / "bank" / "slow"
    slow.parent.mkdir(parents=True, exist_ok=True)
    slow.touch()
    saga = str(shop.must(202, f"{order}/checkout")["saga"])
    stage.say(f"POST /api/orders/{order}/checkout -> 202, saga {saga}")
    stage.wait_for(lambda: bool(census.bank.booked()), "the bank to book a charge")
    stage.kill(CONSUMER)
    slow.unlink()
    stage.say(f"the bank has booked {len(census.bank.booked())} charge, and nobody has noted it")
    stage.start(CONSUMER)
    stage.say(f"started again: {CONSUMER}, which will miss the dead one when its lease has ended")
    return saga


def finish(stage: Stage, census: Census, saga: str) -> None:
    """
    Wait for the end of a saga that was killed, and show its log.
    """
    stage.wait_for(lambda: bool(census.sagas().keys() & ENDED), "the saga to finish")
    for line in stage.run("manage.py", "cqrs_sagas", "show", saga).stdout.partition("log\n")[2].splitlines():
        stage.say(f"saga: {line.strip()}")
    if census.sagas() != {"COMPLETED": 1} or len(census.bank.booked()) != 1:
        raise Failed(f"the saga was to complete with one charge: {census.checkouts()}")
    stage.say("the saga has completed: the bank was asked again with the same key, and has booked once")


def check_out_many(stage: Stage, shop: Shop, census: Census, orders: Sequence[int]) -> list[int]:
    """
    Check out orders, and wait until all of their sagas have ended.
    """
    for order in orders:
        shop.must(202, f"{order}/checkout")
    stage.wait_for(lambda: sum(census.sagas()[status] for status in ENDED) == len(orders) + 1, "all checkouts")
    stage.say(f"all checkouts have ended: {census.checkouts()}")
    return list(orders)
