"""The acceptance rows of chains, fallbacks and breakers: 64 to 69, 71, 72."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from django.test import override_settings
from pybreaker import CircuitBreaker, CircuitBreakerError, CircuitMemoryStorage

from django_cqrs.breakers import CacheStorage
from simplecqrs import (
    NOT_MINE,
    Command,
    DomainEvent,
    Mediator,
    NotificationEvent,
    NotMine,
    Publish,
    Query,
    Registry,
    Stream,
    SyncEventHandler,
    SyncRequestHandler,
    chain,
    fallback,
)
from simplecqrs.breakers import NamedBreaker, redis_storage
from simplecqrs.errors import InvalidHandler, NobodyAnswered
from simplecqrs.memory import MemoryBroker
from simplecqrs.memory_transactions import MemoryTransactions
from tests.redis_server import redis_server

ROOT = Path(__file__).parent.parent.parent
WAIT = 10  # seconds that a thread waits for another one, before the test has failed


@frozen
class Pay(Command["str | None"]):
    """Is paid in one of several ways."""

    by: str


@frozen
class GetPaid(Command[None]):
    """Sends another command."""


@frozen
class GetRate(Query[float]):
    """Is asked of a bank, or of a cache."""


@frozen
class List(Stream[int]):
    """Is listed from one of two sources."""

    skip: int = 0


@frozen
class Paid(DomainEvent):
    """Is handled here."""

    by: str


@frozen
class Charged(NotificationEvent):
    """Goes out."""

    by: str


class Down(Exception):
    """What a service raises when it is not well."""


class Refused(Exception):
    """What a service answers when it is well."""


class Desk:
    """A registry, what happens to its events, and how often who was asked."""

    def __init__(self, **options: Any) -> None:
        self.registry, self.broker, self.options = Registry(), MemoryBroker(), options
        self.calls: Counter[str] = Counter()
        self.paid: list[str] = []
        self.registry.add(Paid, lambda event: self.paid.append(event.by))

    def link(self, name: str, *, fails: Exception | None = None) -> Callable[..., Any]:
        """Make a link that takes what is paid by its name, after it has published."""

        def pay(command: Pay, publish: Publish) -> str | NotMine:
            self.calls[name] += 1
            publish(Paid(name))
            publish(Charged(name))
            if fails is not None:
                raise fails
            return name if command.by in (name, "anyhow") else NOT_MINE

        return pay

    def bus(self) -> Mediator:
        """Make the mediator."""
        return Mediator(self.registry, publisher=self.broker, **self.options)

    @property
    def charged(self) -> list[bytes]:
        """Return what went out."""
        return [envelope.payload for envelope in self.broker.published]


# 64


@pytest.mark.parametrize(
    ("by", "asked"),
    [("voucher", {"voucher": 1}), ("card", {"voucher": 1, "card": 1}), ("cash", {"voucher": 1, "card": 1, "cash": 1})],
)
def test_row_64_the_first_taker_wins_and_those_behind_it_are_not_asked(by: str, asked: dict[str, int]) -> None:
    """In the order in which they were given."""
    desk = Desk()
    desk.registry.handles(Pay)(chain(desk.link("voucher"), desk.link("card"), desk.link("cash")))

    answer = desk.bus().send(Pay(by))

    assert (answer, desk.calls) == (by, asked)


def test_row_64_an_exhausted_chain_raises_or_answers_as_it_was_told() -> None:
    """An error that names the cure is the default; None can be chosen; requests are independent of each other."""
    strict, lax = Desk(), Desk()
    strict.registry.handles(Pay)(chain(strict.link("voucher"), strict.link("card")))
    lax.registry.handles(Pay)(chain(lax.link("voucher"), lax.link("card"), default=None))
    bus = strict.bus()

    with pytest.raises(NobodyAnswered, match="default="):
        bus.send(Pay("shells"))
    assert lax.bus().send(Pay("shells")) is None
    assert bus.send(Pay("card")) == "card"
    assert strict.paid == ["card"]


def test_row_64_none_is_an_answer_and_a_failure_is_a_failure() -> None:
    """Neither is "not mine"."""
    desk = Desk()
    desk.registry.handles(Pay)(chain(lambda command: None, desk.link("card")))
    failing = Desk()
    failing.registry.handles(Pay)(chain(failing.link("voucher", fails=Down()), failing.link("card")))

    assert desk.bus().send(Pay("card")) is None
    with pytest.raises(Down):
        failing.bus().send(Pay("card"))
    assert (desk.calls, failing.calls) == ({}, {"voucher": 1})


def test_row_64_a_member_that_is_no_handler_is_refused_when_it_is_registered() -> None:
    """Not at the first message."""

    async def later(command: Pay) -> str:
        return ""

    def of_another(query: GetRate) -> float:
        return 1.0

    class OfEvents(SyncEventHandler[Paid]):
        def handle(self, event: Paid) -> None: ...

    wrong: list[Any] = [later, of_another, OfEvents, "card", None]
    for member in wrong:
        with pytest.raises(InvalidHandler):
            Registry().handles(Pay)(chain(lambda command: NOT_MINE, member))


# 65


def test_row_65_events_are_those_of_the_link_that_handled() -> None:
    """Not those of the first one, nor those of links that let it pass."""
    desk = Desk()
    desk.registry.handles(Pay)(chain(desk.link("voucher"), desk.link("card")))

    desk.bus().send(Pay("card"))

    assert desk.paid == ["card"]
    assert desk.charged == [b'{"by":"card"}']


class Shared(SyncRequestHandler[Pay, "str | NotMine"]):
    """One object in several chains; a container may hand it out to all."""

    def __init__(self, name: str) -> None:
        self.name = name

    def handle(self, command: Pay) -> str | NotMine:
        """Take what is mine."""
        self.publish(Paid(self.name))
        return self.name if command.by == self.name else NOT_MINE


class AsShared(SyncRequestHandler[Pay, "str | NotMine"]):
    """Is in both chains."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared

    def handle(self, command: Pay) -> str | NotMine:
        """Ask the shared one."""
        return self.shared.handle(command)


def test_row_65_shared_handlers_do_not_corrupt_chains() -> None:
    """``[X, Y]`` and ``[X, Z]``, with one X: each ends with its own, in threads too."""
    shared = Shared("x")
    buses: dict[str, tuple[Mediator, list[str]]] = {}
    for name in ("y", "z"):
        paid: list[str] = []
        registry = Registry()
        registry.handles(Pay)(chain(shared.handle, AsShared, Shared(name).handle))
        registry.add(Paid, lambda event, *, paid=paid: paid.append(event.by))
        buses[name] = (Mediator(registry, provide={Shared: lambda: shared}), paid)

    def pay(name: str) -> None:
        for _ in range(20):
            buses[name][0].send(Pay(name))

    threads = [threading.Thread(target=pay, args=[name]) for name in "yz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)

    assert {name: Counter(paid) for name, (_, paid) in buses.items()} == {"y": {"y": 20}, "z": {"z": 20}}


# 66


def test_row_66_a_primary_that_answers_is_the_runner() -> None:
    """The backup is not asked."""
    desk = Desk()
    desk.registry.handles(Pay)(fallback(desk.link("card"), desk.link("cash"), on=Down))

    assert desk.bus().send(Pay("card")) == "card"

    assert (desk.calls, desk.paid) == ({"card": 1}, ["card"])


def test_row_66_result_and_events_are_those_of_the_runner_and_the_trial_is_rolled_back() -> None:
    """What the primary has written, sent and published is gone with it."""
    memory, rows = MemoryTransactions(), dict[str, int]()
    desk = Desk(transaction=lambda message: memory.transaction())

    def by_card(command: Pay, publish: Publish) -> str:
        memory.put(rows, "card", 1)
        publish(Charged("card"))
        publish(Paid("card"))
        raise Down

    def by_cash(command: Pay, publish: Publish) -> str:
        memory.put(rows, "cash", 1)
        publish(Charged("cash"))
        publish(Paid("cash"))
        return "cash"

    desk.registry.handles(Pay)(fallback(by_card, by_cash, on=Down))

    assert desk.bus().send(Pay("card")) == "cash"

    assert (rows, desk.paid, desk.charged) == ({"cash": 1}, ["cash"], [b'{"by":"cash"}'])


def test_row_66_other_failures_reach_the_caller_as_they_are() -> None:
    """The backup is not asked; nor for what its own failure is: that is raised."""
    desk = Desk()
    desk.registry.handles(Pay)(fallback(desk.link("card", fails=Refused()), desk.link("cash"), on=Down))
    both = Desk()
    both.registry.handles(Pay)(
        fallback(both.link("card", fails=Down("primary")), both.link("cash", fails=Refused("backup")), on=Down)
    )

    with pytest.raises(Refused):
        desk.bus().send(Pay("card"))
    with pytest.raises(Refused, match="backup") as caught:
        both.bus().send(Pay("card"))

    assert desk.calls == {"card": 1}
    assert isinstance(caught.value.__context__, Down)  # the real reason stays visible
    assert both.paid == []


def test_row_66_what_cannot_be_a_fallback_is_refused_at_once() -> None:
    """Of another message, of another kind, not callable, exceptions that are none; answers are compared by checkers."""

    def of_another(query: GetRate) -> float:
        return 1.0

    class OfEvents(SyncEventHandler[Paid]):
        def handle(self, event: Paid) -> None: ...

    members: list[Any] = [of_another, OfEvents, 7]
    for member in members:
        for pair in ((member, lambda command: "x"), (lambda command: "x", member)):
            with pytest.raises(InvalidHandler):
                Registry().handles(Pay)(fallback(*pair))
    filters: list[Any] = [(), "Down", int, KeyboardInterrupt, (Down, 7)]
    for on in filters:
        with pytest.raises(InvalidHandler, match="on="):
            fallback(lambda command: "x", lambda command: "y", on=on)


AROUND: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a middleware": {"middlewares": [lambda message, call_next: call_next(message)]},
    "a container": {"provide": {int: int}},
    "a transaction": {"transaction": lambda message: MemoryTransactions().transaction()},
    "policy": {"event_errors": "collect"},
}


@pytest.mark.parametrize("options", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize("fails", [False, True])
def test_row_66_what_the_runner_sends_is_told_whatever_is_around(options: dict[str, Any], fails: bool) -> None:
    """Events of a nested command go out and reach after-commit handlers, the backup's as the primary's."""
    desk = Desk(**options)
    late: list[str] = []
    buses: list[Mediator] = []

    def primary(command: GetPaid) -> None:
        if fails:
            raise Down
        buses[0].send(Pay("card"))

    def backup(command: GetPaid) -> None:
        buses[0].send(Pay("card"))

    desk.registry.handles(GetPaid)(fallback(primary, backup, on=Down))
    desk.registry.add(Pay, desk.link("card"))
    desk.registry.add(Charged, lambda event: late.append(event.by), after_commit=True)
    buses.append(desk.bus())

    buses[0].send(GetPaid())

    assert (desk.paid, desk.charged, late) == (["card"], [b'{"by":"card"}'], ["card"])


# 67


def test_row_67_events_fall_back_like_requests() -> None:
    """Function and class; follow-ups are those of the runner; siblings are not touched; others' failures are raised."""
    desk = Desk()

    def primary(event: Paid, publish: Publish) -> None:
        desk.calls["primary"] += 1
        publish(Charged("primary"))
        raise Down if event.by == "card" else Refused

    class Backup(SyncEventHandler[Paid]):
        def handle(self, event: Paid) -> None:
            desk.calls["backup"] += 1
            self.publish(Charged("backup"))

    desk.registry.handles(Paid)(fallback(primary, Backup, on=Down))
    bus = desk.bus()

    bus.publish(Paid("card"))
    with pytest.raises(Refused):
        bus.publish(Paid("cash"))

    assert desk.calls == {"primary": 2, "backup": 1}
    assert desk.charged == [b'{"by":"backup"}']
    assert desk.paid == ["card", "cash"]


def test_row_67_a_breaker_keeps_the_primary_of_an_event_from_being_asked() -> None:
    """While it is open."""
    desk, breaker = Desk(), NamedBreaker("mail", fail_max=2)

    def primary(event: Paid) -> None:
        desk.calls["primary"] += 1
        raise Down

    def backup(event: Paid) -> None:
        desk.calls["backup"] += 1

    desk.registry.handles(Paid)(fallback(primary, backup, on=Down, breaker=breaker))
    bus = desk.bus()

    for _ in range(5):
        bus.publish(Paid("card"))

    assert desk.calls == {"primary": 2, "backup": 5}


# 68


def listing(desk: Desk, *, fails_at: int | None = None) -> Callable[[List], Iterator[int]]:
    """Make a source of three items, which fails."""

    def source(stream: List) -> Iterator[int]:
        desk.calls["primary"] += 1
        for number in range(stream.skip, 3):
            if number == fails_at:
                raise Down
            yield number

    return source


def backup_listing(desk: Desk) -> Callable[[List], Iterator[int]]:
    """Make the other source."""

    def source(stream: List) -> Iterator[int]:
        desk.calls["backup"] += 1
        for number in range(stream.skip, 3):
            yield 10 + number

    return source


@pytest.mark.parametrize("fails_at", [0, 1, 2, None])
def test_row_68_without_a_resume_hook_nobody_gets_an_item_twice(fails_at: int | None) -> None:
    """It falls back as long as nothing was taken; after that the failure is raised."""
    desk, taken = Desk(), list[int]()
    desk.registry.handles(List)(fallback(listing(desk, fails_at=fails_at), backup_listing(desk), on=Down))

    try:
        taken.extend(desk.bus().stream(List()))
        failed = False
    except Down:
        failed = True

    expected = {0: ([10, 11, 12], False), None: ([0, 1, 2], False)}
    assert (taken, failed) == expected.get(fails_at, (taken, True))
    assert desk.calls["backup"] == (fails_at == 0)
    assert taken[:1] == [0] or fails_at == 0 or not taken


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_row_68_with_a_resume_hook_the_backup_goes_on_where_the_primary_was(fails_at: int) -> None:
    """No item is missing, and none comes twice."""
    desk = Desk()
    desk.registry.handles(List)(
        fallback(
            listing(desk, fails_at=fails_at),
            backup_listing(desk),
            on=Down,
            resume=lambda stream, taken, last: List(skip=last + 1),
        )
    )

    taken = list(desk.bus().stream(List()))

    assert [number % 10 for number in taken] == [0, 1, 2]
    assert taken[fails_at:] == [10 + number for number in range(fails_at, 3)]


def test_row_68_a_breaker_is_honoured_by_streams() -> None:
    """With ``fail_max=2`` the primary runs twice, not six times; a reader who leaves is no failure."""
    desk, breaker = Desk(), NamedBreaker("lister", fail_max=2)
    desk.registry.handles(List)(fallback(listing(desk, fails_at=0), backup_listing(desk), on=Down, breaker=breaker))
    healthy, other = Desk(), NamedBreaker("other", fail_max=1)
    healthy.registry.handles(List)(fallback(listing(healthy), backup_listing(healthy), on=Down, breaker=other))
    bus, healthy_bus = desk.bus(), healthy.bus()

    answers = [list(bus.stream(List())) for _ in range(6)]
    for _ in range(3):
        items = healthy_bus.stream(List())
        next(items)
        items.close()

    assert answers == [[10, 11, 12]] * 6
    assert desk.calls == {"primary": 2, "backup": 6}
    assert other.circuit.current_state == "closed"


# 69


def test_row_69_a_whole_chain_can_be_a_primary() -> None:
    """If a link fails, or if nobody answers and that is named; events are those of the runner."""
    desk = Desk()
    inner = chain(desk.link("voucher"), desk.link("card", fails=Down()))
    desk.registry.handles(Pay)(fallback(inner, desk.link("cash"), on=(Down, NobodyAnswered)))
    nobody = Desk()
    nobody.registry.handles(Pay)(fallback(chain(nobody.link("voucher")), nobody.link("cash"), on=NobodyAnswered))

    assert desk.bus().send(Pay("anyhow")) == "voucher"
    assert desk.bus().send(Pay("cash")) == "cash"
    assert nobody.bus().send(Pay("cash")) == "cash"

    assert desk.paid == ["voucher", "cash"]
    assert nobody.paid == ["cash"]


def test_row_69_a_fallback_can_be_a_link_and_both_nest_deeper() -> None:
    """A fallback whose backup says "not mine" leaves it to the next link."""
    desk = Desk()
    shaky = fallback(desk.link("card", fails=Down()), desk.link("bank"), on=Down)
    desk.registry.handles(Pay)(chain(chain(desk.link("voucher"), default=NOT_MINE), shaky, desk.link("cash")))
    bus = desk.bus()

    assert [bus.send(Pay(by)) for by in ("voucher", "bank", "cash")] == ["voucher", "bank", "cash"]

    assert desk.paid == ["voucher", "bank", "cash"]


# 71


def ask(breaker: Any, error: BaseException | None = None) -> None:
    """Call a service."""
    with breaker.calling():
        if error is not None:
            raise error


def rate(breaker: Any, failures: list[BaseException], **options: Any) -> tuple[Mediator, Counter[str]]:
    """Make a mediator whose bank fails like this, once each."""
    calls: Counter[str] = Counter()

    def from_bank(query: GetRate) -> float:
        calls["bank"] += 1
        if failures:
            raise failures.pop(0)
        return 1.5

    def from_cache(query: GetRate) -> float:
        calls["cache"] += 1
        return 1.1

    registry = Registry()
    registry.handles(GetRate)(fallback(from_bank, from_cache, breaker=breaker, **{"on": Down, **options}))
    return Mediator(registry), calls


@pytest.mark.parametrize(
    "make",
    [
        lambda seconds: NamedBreaker("bank", fail_max=2, reset_seconds=seconds),
        lambda seconds: CircuitBreaker(fail_max=2, reset_timeout=seconds),
    ],
    ids=["ours", "pybreaker's own"],
)
def test_row_71_closed_open_half_open_and_closed_again(make: Callable[[float], Any]) -> None:
    """The backup answers all the time; the bank is asked twice, then not, then once to try, then always."""
    breaker = make(3600)
    bus, calls = rate(breaker, [Down(), Down()])

    answers = [bus.send(GetRate()) for _ in range(4)]
    asked = calls["bank"]
    circuit = getattr(breaker, "circuit", breaker)
    circuit.reset_timeout = 0
    again = [bus.send(GetRate()) for _ in range(2)]

    assert (answers, asked) == ([1.1] * 4, 2)
    assert (again, circuit.current_state) == ([1.5, 1.5], "closed")


def test_row_71_one_failure_reopens_a_half_open_breaker() -> None:
    """And what is raised while it is open, or trips, is the real error (fix): others reach the caller."""
    breaker = NamedBreaker("bank", fail_max=1, reset_seconds=0)
    with pytest.raises(Down):
        ask(breaker, Down())
    with pytest.raises(Down):
        ask(breaker, Down())
    assert breaker.circuit.current_state == "open"

    bus, calls = rate(NamedBreaker("other", fail_max=1), [Refused(), Refused(), Down()])
    for _ in range(2):
        with pytest.raises(Refused):  # not among ``on``, so it neither counts nor is answered for
            bus.send(GetRate())

    assert bus.send(GetRate()) == 1.1
    assert bus.send(GetRate()) == 1.1
    assert calls == {"bank": 3, "cache": 2}


def test_row_71_excluded_exceptions_are_raised_and_not_counted() -> None:
    """Where somebody uses the breaker by himself."""
    breaker = NamedBreaker("bank", fail_max=1, exclude=Refused)

    for _ in range(3):
        with pytest.raises(Refused):
            ask(breaker, Refused())

    ask(breaker)


def test_row_71_breakers_of_two_names_are_isolated_and_those_of_one_share() -> None:
    """By a storage that is plugged in: here pybreaker's, in a dict."""
    kept: dict[str, CircuitMemoryStorage] = {}

    def storage(name: str) -> CircuitMemoryStorage:
        return kept.setdefault(name, CircuitMemoryStorage("closed"))

    one, same, other = (NamedBreaker(name, fail_max=1, storage=storage) for name in ("bank", "bank", "mail"))

    with pytest.raises(Down):
        ask(one, Down())

    with pytest.raises(CircuitBreakerError):
        ask(same)
    ask(other)


def test_row_71_what_is_no_breaker_is_refused_at_once() -> None:
    """Anything with ``calling()`` is one."""
    with pytest.raises(InvalidHandler, match="calling"):
        fallback(lambda query: 1.0, lambda query: 2.0, breaker=object())  # type: ignore[arg-type]


# 72

IN_ANOTHER_PROCESS = """
import sys
from django.conf import settings
BACKEND = "django.core.cache.backends.filebased.FileBasedCache"
settings.configure(CACHES={"default": {"BACKEND": BACKEND, "LOCATION": sys.argv[1]}})
from django_cqrs.breakers import CacheStorage
from simplecqrs.breakers import NamedBreaker
breaker = NamedBreaker("bank", fail_max=1, storage=CacheStorage)
try:
    with breaker.calling():
        raise ConnectionError
except ConnectionError:
    print("tripped")
"""


def test_row_72_djangos_cache_holds_a_breaker_for_all_processes(tmp_path: Path) -> None:
    """One trips it, the other does not ask its bank any more."""
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )

    with override_settings(CACHES={"default": {"BACKEND": backend, "LOCATION": str(tmp_path)}}):
        bus, calls = rate(NamedBreaker("bank", fail_max=1, storage=CacheStorage), [])
        answer = bus.send(GetRate())

    assert (done.stdout.strip(), answer, calls) == ("tripped", 1.1, {"cache": 1})


@pytest.mark.redis
@pytest.mark.services
def test_row_72_redis_holds_a_breaker_for_all_processes(tmp_path: Path) -> None:
    """Two clients, as two processes have them; failures are counted together."""
    with redis_server(tmp_path) as server, server.client() as first, server.client() as second:
        one_bus, one = rate(NamedBreaker("bank", fail_max=2, storage=redis_storage(first)), [Down()])
        other_bus, other = rate(NamedBreaker("bank", fail_max=2, storage=redis_storage(second)), [Down()])

        answers = [bus.send(GetRate()) for bus in (one_bus, other_bus, one_bus, other_bus)]

    assert answers == [1.1] * 4
    assert (one, other) == ({"bank": 1, "cache": 2}, {"bank": 1, "cache": 2})
