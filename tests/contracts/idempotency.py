"""What idempotency keys do, wherever they are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, ClassVar, TypeVar
from uuid import UUID, uuid4

import pytest
from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, Publish, Query, Registry
from simplecqrs.errors import IdempotencyKeyInUse, IdempotencyKeyReused, InvalidMessage, NotConfigured
from simplecqrs.pipeline import Middleware
from tests.contracts.threads import begun_in_thread

R = TypeVar("R")
T = TypeVar("T")


class Boom(Exception):
    """Raised by handlers that fail."""


@frozen
class Receipt:
    """An answer with fields."""

    id: UUID
    at: datetime
    price: Decimal
    tags: frozenset[str]


class NoFields:
    """Something that no codec knows."""


@frozen
class Pay(Command[int], name="idempotency.Pay"):
    """Answers a number."""

    what: str
    tags: frozenset[int] = frozenset()


@frozen
class Refund(Command[int], name="idempotency.Refund"):
    """Has the same fields."""

    what: str


@frozen
class Nothing(Command[None], name="idempotency.Nothing"):
    """Answers nothing."""


class Buying(Command[list[R]]):
    """Has an answer that subclasses say."""


@frozen
class Buy(Buying[Receipt], name="idempotency.Buy"):
    """Answers what its base and it say together."""


@frozen
class Find(Command["Receipt | None"], name="idempotency.Find"):
    """Answers what is written as text."""


@frozen
class Unsaid(Command, name="idempotency.Unsaid"):  # type: ignore[type-arg]
    """Does not say what it answers."""


@frozen
class Odd(Command[list[NoFields]], name="idempotency.Odd"):
    """Answers what cannot be stored."""


@frozen
class Lying(Command[int], name="idempotency.Lying"):
    """Is answered something else."""


@frozen
class Outer(Command[int], name="idempotency.Outer"):
    """Sends another one."""

    what: str = ""


@frozen
class Ask(Query[int]):
    """Changes nothing."""


@frozen
class Paid(DomainEvent):
    """Is told with the payment."""

    what: str


class Shop:
    """
    Handlers that write down what they do.

    Args:
        write: keeps a text in the transaction that is open.
        written: returns the texts that were kept.
    """

    def __init__(
        self, bus: Callable[..., Mediator], write: Callable[[str], object], written: Callable[[], list[str]]
    ) -> None:
        self.write, self.written = write, written
        self.registry = Registry()
        self.meanwhile: Callable[[], object] = lambda: None
        self.registry.add(Pay, self._pay)
        self.registry.add(Refund, lambda command: self.write(f"refund {command.what}") and 0)
        self.registry.add(Paid, self._paid)
        self._bus = bus

    def bus(self, *middlewares: Middleware) -> Mediator:
        """Return the mediator."""
        return self._bus(self.registry, middlewares)

    def _pay(self, command: Pay, publish: Publish) -> int:
        publish(Paid(command.what))
        self.write(f"pay {command.what}")
        self.meanwhile()
        return len(self.written())

    def _paid(self, event: Paid) -> None:
        if event.what == "fail later":
            raise Boom(event.what)
        self.write(f"paid {event.what}")


class IdempotencyContract:
    """
    What every store does.  Override ``shop``.

    Attributes:
        parallel: whether two transactions can write at the same time.
        patience: seconds after which a thread that should long be done fails the test.
    """

    parallel: ClassVar[bool] = True
    patience: ClassVar[float] = 20.0

    @pytest.fixture
    def shop(self) -> Shop:
        raise NotImplementedError

    @pytest.fixture
    def impatient(self, shop: Shop) -> Mediator:
        """Return a mediator of the shop that waits for others a tenth of a second at most, or a whole one."""
        raise NotImplementedError

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Do something in a thread."""
        return begun_in_thread(work, self.close)

    def close(self) -> None:
        """Give back what a thread has opened."""

    def until_waiting(self, number: int) -> None:
        """Return when so many transactions wait for another one, where that can be seen."""

    # -- repeats

    def test_a_repeat_gets_the_stored_answer_and_does_nothing(self, shop: Shop) -> None:
        """Its handler does not run, and no event is told again."""
        bus = shop.bus()
        first = bus.send(Pay("book"), idempotency_key="k")
        assert shop.written() == ["pay book", "paid book"]

        assert bus.send(Pay("book"), idempotency_key="k") == first == 1

        assert shop.written() == ["pay book", "paid book"]

    def test_without_a_key_or_with_another_one_it_runs(self, shop: Shop) -> None:
        """Two keys are two commands."""
        bus = shop.bus()
        answers = [bus.send(Pay("book"), idempotency_key=key) for key in ("k", "K", "k ", "k", None, None)]

        assert answers == [1, 3, 5, 1, 7, 9]

    @pytest.mark.parametrize("kind", [Nothing, Buy, Find], ids=["none", "list", "text"])
    def test_an_answer_comes_back_equal(self, shop: Shop, kind: type[Command[Any]]) -> None:
        """Whatever the codec knows; what the type is, the class says."""
        receipt = Receipt(uuid4(), datetime(2026, 11, 21, 12, 0, 0, 5, timezone.utc), Decimal("1.10"), frozenset("abc"))
        answers: dict[type[Any], Any] = {Nothing: None, Buy: [receipt], Find: receipt}
        runs: list[Any] = []
        shop.registry.add(kind, lambda command: runs.append(1) or answers[kind])
        bus = shop.bus()

        first, again = (bus.send(kind(), idempotency_key="k") for _ in range(2))

        assert first == again == answers[kind]
        assert type(again) is type(answers[kind])
        assert runs == [1]

    def test_a_set_has_no_order(self, shop: Shop) -> None:
        """Each process has its own; the command is the same."""
        bus = shop.bus()
        assert list(frozenset([0, 8])) != list(frozenset([8, 0]))

        answers = [
            bus.send(Pay("book", frozenset(tags)), idempotency_key="k") for tags in ([0, 8], [8, 0])
        ]  # fmt: skip

        assert answers == [1, 1]

    def test_middlewares_surround_a_repeat(self, shop: Shop) -> None:
        """They see it go in and come out, and may refuse it."""
        seen: list[Any] = []

        def watch(message: Any, call_next: Callable[[Any], Any]) -> Any:
            answer = call_next(message)
            seen.append(answer)
            return answer

        bus = shop.bus(watch)
        for _ in range(2):
            bus.send(Pay("book"), idempotency_key="k")

        assert [answer for answer in seen if answer is not None] == [1, 1]

    # -- another command

    @pytest.mark.parametrize(
        ("other", "said"), [(Pay("pen"), "with other content"), (Refund("book"), r"by idempotency\.Pay")], ids=str
    )
    def test_another_command_under_the_key_is_refused(self, shop: Shop, other: Command[int], said: str) -> None:
        """With other fields, or of another class; the first one's answer stays."""
        bus = shop.bus()
        bus.send(Pay("book"), idempotency_key="k")

        with pytest.raises(IdempotencyKeyReused, match=said):
            bus.send(other, idempotency_key="k")

        assert bus.send(Pay("book"), idempotency_key="k") == 1
        assert shop.written() == ["pay book", "paid book"]

    # -- failures

    @pytest.mark.parametrize("what", ["fail now", "fail later"])
    def test_a_failed_command_leaves_nothing(self, shop: Shop, what: str) -> None:
        """Nor does one whose event's handler fails: a retry runs again, and may have other content then."""
        bus = shop.bus()

        def fail() -> None:
            raise Boom

        shop.meanwhile = fail if what == "fail now" else lambda: None
        for _ in range(2):
            with pytest.raises(Boom):
                bus.send(Pay(what), idempotency_key="k")
        assert shop.written() == []
        shop.meanwhile = lambda: None

        assert bus.send(Pay("book"), idempotency_key="k") == 1

    def test_a_nested_command_shares_the_fate_of_the_outer_one(self, shop: Shop) -> None:
        """Its key is free again if the outer one fails."""

        def outer(command: Outer) -> int:
            paid = bus.send(Pay("book"), idempotency_key="inner")
            if command.what == "fail":
                raise Boom
            return paid

        shop.registry.add(Outer, outer)
        bus = shop.bus()

        with pytest.raises(Boom):
            bus.send(Outer("fail"), idempotency_key="outer")
        assert shop.written() == []
        assert bus.send(Outer(), idempotency_key="outer") == 1
        assert bus.send(Outer(), idempotency_key="another") == 1

        assert shop.written() == ["pay book", "paid book"]

    def test_a_nested_command_that_fails_leaves_nothing_in_an_outer_one_that_goes_on(self, shop: Shop) -> None:
        """It may be sent again there."""

        def outer(command: Outer) -> int:
            with suppress(Boom):
                bus.send(Pay("fail later"), idempotency_key="inner")
            return bus.send(Pay("book"), idempotency_key="inner")

        shop.registry.add(Outer, outer)
        bus = shop.bus()

        assert bus.send(Outer(), idempotency_key="outer") == 1
        assert shop.written() == ["pay book", "paid book"]

    def test_a_command_that_sends_itself_under_its_key_is_told_so(self, shop: Shop) -> None:
        """It would wait for its own end."""
        shop.registry.add(Outer, lambda command: bus.send(command, idempotency_key="k"))
        bus = shop.bus()

        with pytest.raises(IdempotencyKeyInUse, match="by its own handler"):
            bus.send(Outer(), idempotency_key="k")

    # -- what cannot be

    @pytest.mark.parametrize("key", ["", "x" * 256, 7, b"k"], ids=["empty", "long", "number", "bytes"])
    def test_a_key_is_a_string_of_some_length(self, shop: Shop, key: Any) -> None:
        """Or it is told before anything runs."""
        with pytest.raises(InvalidMessage, match="a string of 1 to 255 characters, not "):
            shop.bus().send(Pay("book"), idempotency_key=key)

        assert shop.written() == []

    def test_any_character_may_be_in_it(self, shop: Shop) -> None:
        """And a key of 255 of them is not cut."""
        bus = shop.bus()
        keys = ["\N{PILE OF POO}" * 255, "\N{PILE OF POO}" * 254, "a\0b", "\ud800"]

        assert [bus.send(Pay("book"), idempotency_key=key) for key in keys * 2] == [1, 3, 5, 7] * 2

    @pytest.mark.parametrize(("kind", "said"), [(Unsaid, "nobody says what type"), (Odd, "NoFields has no fields")])
    def test_an_answer_that_cannot_be_stored_is_told_before_anything_runs(
        self, shop: Shop, kind: Any, said: str
    ) -> None:
        """With the cure; without a key the command is sent as ever."""
        shop.registry.add(kind, lambda command: shop.write("ran"))
        bus = shop.bus()

        with pytest.raises(InvalidMessage, match=said):
            bus.send(kind(), idempotency_key="k")

        assert shop.written() == []
        bus.send(kind())
        assert shop.written() == ["ran"]

    def test_an_answer_that_is_not_what_the_class_says_is_told(self, shop: Shop) -> None:
        """It would come back as something else; the command has failed."""
        shop.registry.add(Lying, lambda command: shop.write("ran") and "text")
        bus = shop.bus()

        with pytest.raises(InvalidMessage, match="the answer of Lying"):
            bus.send(Lying(), idempotency_key="k")

        assert shop.written() == []

    def test_only_commands_have_keys(self, shop: Shop) -> None:
        """A query changes nothing."""
        shop.registry.add(Ask, lambda query: 1)

        with pytest.raises(InvalidMessage, match="Ask is no command"):
            shop.bus().send(Ask(), idempotency_key="k")

    def test_what_is_to_become_of_the_second_one_is_one_of_two(self, shop: Shop) -> None:
        """To wait or to raise."""
        with pytest.raises(NotConfigured, match="'wait' or 'raise'"):
            shop.bus().send(Pay("book"), idempotency_key="k", concurrent="retry")  # type: ignore[arg-type]

    # -- at the same time

    def _while_at_work(self, shop: Shop, then: Callable[[], object], *, fails: bool = False) -> Future[int]:
        """Begin a payment in a thread, do something meanwhile, and let it end."""
        begun, goes_on = threading.Event(), threading.Event()
        first = threading.local()

        def wait() -> None:
            if getattr(first, "it", False):
                begun.set()
                assert goes_on.wait(self.patience)
                if fails:
                    raise Boom

        def pay() -> int:
            first.it = True
            return shop.bus().send(Pay("book"), idempotency_key="k")

        shop.meanwhile = wait
        paying = self.run(pay)
        try:
            assert begun.wait(self.patience)
            then()
        finally:
            goes_on.set()
        return paying

    def test_who_comes_meanwhile_waits_and_gets_the_answer(self, shop: Shop) -> None:
        """Of the first one, when that is committed."""
        others: list[Future[int]] = []
        bus = shop.bus()

        def repeat() -> None:
            others.extend(self.run(lambda: bus.send(Pay("book"), idempotency_key="k")) for _ in range(3))
            self.until_waiting(3)

        first = self._while_at_work(shop, repeat)

        assert [other.result(self.patience) for other in (first, *others)] == [1] * 4
        assert shop.written() == ["pay book", "paid book"]

    def test_who_waits_for_one_that_fails_runs_itself(self, shop: Shop) -> None:
        """One of them does, and the others get its answer."""
        others: list[Future[int]] = []
        bus = shop.bus()

        def repeat() -> None:
            others.extend(self.run(lambda: bus.send(Pay("book"), idempotency_key="k")) for _ in range(4))
            self.until_waiting(4)

        first = self._while_at_work(shop, repeat, fails=True)

        with pytest.raises(Boom):
            first.result(self.patience)
        assert [other.result(self.patience) for other in others] == [1] * 4
        assert shop.written() == ["pay book", "paid book"]

    @pytest.mark.needs("parallel")
    def test_who_does_not_want_to_wait_is_told_at_once(self, shop: Shop) -> None:
        """And other keys are not concerned."""
        bus = shop.bus()

        def repeat() -> None:
            with pytest.raises(IdempotencyKeyInUse, match="still at work"):
                bus.send(Pay("book"), idempotency_key="k", concurrent="raise")
            bus.send(Refund("pen"), idempotency_key="other", concurrent="raise")

        assert self._while_at_work(shop, repeat).result(self.patience) > 0
        assert bus.send(Pay("book"), idempotency_key="k", concurrent="raise") > 0

    @pytest.mark.needs("parallel")
    def test_nobody_waits_for_ever(self, shop: Shop, impatient: Mediator) -> None:
        """The store has a limit."""

        def repeat() -> None:
            with pytest.raises(IdempotencyKeyInUse, match="still at work"):
                impatient.send(Pay("book"), idempotency_key="k")

        assert self._while_at_work(shop, repeat).result(self.patience) == 1

    def test_of_a_crowd_one_runs_and_all_get_its_answer(self, shop: Shop) -> None:
        """Eight at a time, five keys after each other."""
        bus = shop.bus()
        for key in "abcde":
            before = len(shop.written())
            together = threading.Barrier(8)

            def send(key: str = key, together: threading.Barrier = together) -> int:
                together.wait(self.patience)
                return bus.send(Pay(key), idempotency_key=key)

            answers = {crowd.result(self.patience) for crowd in [self.run(send) for _ in range(8)]}

            assert answers == {before + 1}
            assert shop.written()[before:] == [f"pay {key}", f"paid {key}"]
