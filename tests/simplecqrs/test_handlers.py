"""What a handler may look like, and what each wrong shape is told."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import pytest
from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, Publish, Registry, SyncEventHandler, SyncRequestHandler
from simplecqrs.errors import InvalidHandler, NotPublished
from simplecqrs.handlers import describe
from simplecqrs.shapes import shape_of
from simplecqrs.testing import recording

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers

T = TypeVar("T")


@frozen
class Create(Command[int]):
    """Is handled by what is tested here."""

    name: str = ""


@frozen
class Rename(Command[None]):
    """Another command."""


@frozen
class Created(DomainEvent):
    """Is published and handled."""


@frozen
class Removed(DomainEvent):
    """Another event."""


@frozen
class Changed(DomainEvent, Generic[T]):
    """A generic event."""

    to: T


@frozen
class NameChanged(Changed[str]):
    """What is really sent."""


class Users:
    """A dependency."""


class Announce(Protocol):
    """What a handler may call publish."""

    def __call__(self, event: Created, /) -> None:
        """Publish."""


# The shapes that work


def test_a_function_of_a_message_is_a_handler() -> None:
    """The shortest one."""

    def create(command: Create) -> int:
        return 1

    shape = shape_of(create, (Create,))

    assert (shape.is_class, shape.publishes, dict(shape.needs)) == (False, False, {})


def test_a_second_parameter_is_publish() -> None:
    """Whatever it is called, and with or without its type."""

    def typed(command: Create, publish: Publish) -> int:
        return 1

    def bare(command, emit):  # type: ignore[no-untyped-def]
        return 1

    def narrow(command: Create, publish: Callable[[Created], None]) -> int:
        return 1

    def by_protocol(command: Create, publish: Announce) -> int:
        return 1

    def anything(command: Create, publish: Any) -> int:
        return 1

    assert all(shape_of(h, (Create,)).publishes for h in (typed, bare, narrow, by_protocol, anything))


def test_keyword_only_parameters_are_injected_by_their_type() -> None:
    """Unless they have a default, which is then the value."""

    def create(command: Create, publish: Publish, *, users: Users, limit: int = 7) -> int:
        return limit

    assert dict(shape_of(create, (Create,)).needs) == {"users": Users}


def test_one_type_for_checkers_only_does_not_hide_the_others() -> None:
    """Each hint is resolved by itself; the one that cannot be stays text, for check() to name."""

    def create(command: Create, *, users: Users, price: OnlyForCheckers) -> int:
        return 1

    assert dict(shape_of(create, (Create,)).needs) == {"users": Users, "price": "OnlyForCheckers"}


def test_a_class_handler_names_its_dependencies_in_init() -> None:
    """By type, as functions do."""

    class CreateHandler(SyncRequestHandler[Create, int]):
        def __init__(self, users: Users, *, limit: int = 7) -> None:
            self.users = users

        def handle(self, command: Create) -> int:
            return 1

    shape = shape_of(CreateHandler, (Create,))

    assert (shape.is_class, dict(shape.needs)) == (True, {"users": Users})


@frozen
class FrozenHandler(SyncRequestHandler[Create, str]):
    """A handler that attrs has written the ``__init__`` of."""

    users: Users

    def handle(self, command: Create, /) -> str:
        """Answer."""
        self.publish(Created())
        return type(self.users).__name__


def test_a_frozen_attrs_class_may_be_a_handler() -> None:
    """Its ``__init__`` belongs to no module; its types are found all the same."""
    registry = Registry()
    registry.add(Create, FrozenHandler)

    assert Mediator(registry, provide={Users: Users}).send(Create()) == "Users"


class Sevens:
    """An object that can be called."""

    def __call__(self, command: Create) -> int:
        """Answer."""
        return 7


@pytest.mark.parametrize(
    "handler",
    [functools.partial(lambda prefix, command: 7, "x"), Sevens(), lambda command, *rest: 7],
    ids=["partial", "object with __call__", "lambda with *rest"],
)
def test_anything_that_can_be_called_with_a_message_is_a_handler(handler: Callable[..., int]) -> None:
    """Functions are only the usual case."""
    registry = Registry()
    registry.add(Create, handler)

    assert Mediator(registry).send(Create()) == 7


def test_a_bound_method_is_a_handler() -> None:
    """``self`` is none of its parameters."""

    class Service:
        def create(self, command: Create, publish: Publish) -> int:
            publish(Created())
            return 7

    registry = Registry()
    registry.add(Create, Service().create)

    assert Mediator(registry).send(Create()) == 7


def test_a_handler_may_take_a_union_a_base_or_anything() -> None:
    """What takes more than the message is fine."""

    def union(event: Created | Removed) -> None: ...
    def base(event: DomainEvent) -> None: ...
    def anything(event: Any) -> None: ...
    def untyped(event): ...  # type: ignore[no-untyped-def]
    def variable(event: T) -> None: ...
    def everything(event: object) -> None: ...

    for handler in (union, base, anything, untyped, variable, everything):
        assert shape_of(handler, (Created, Removed)).needs == {}


def test_a_handler_may_name_the_generic_base_of_its_message() -> None:
    """``Changed[str]`` takes a NameChanged."""

    def changed(event: Changed[str]) -> None: ...

    assert shape_of(changed, (NameChanged,)).publishes is False


def test_a_class_handler_may_have_a_method_build() -> None:
    """Only objects that are no classes are handlers made of handlers."""

    class House(SyncRequestHandler[Create, str]):
        def build(self) -> str:
            return "built"

        def handle(self, command: Create) -> str:
            return self.build()

    registry = Registry()
    registry.add(Create, House)

    assert Mediator(registry).send(Create()) == "built"


# The shapes that are refused, each with culprit and cure


async def coroutine(command: Create) -> int:
    """Be async."""
    await asyncio.sleep(0)
    return 1


async def async_generator(command: Create) -> AsyncIterator[int]:
    """Be async, and a generator."""
    yield 1


class AsyncCallable:
    """An object with an async ``__call__``."""

    async def __call__(self, command: Create) -> int:
        """Be async."""
        return 1


class AsyncHandler(SyncRequestHandler[Create, Any]):
    """A class handler with an async ``handle``."""

    async def handle(self, command: Create) -> int:
        """Be async."""
        return 1


@pytest.mark.parametrize(
    "handler",
    [coroutine, async_generator, AsyncCallable(), AsyncHandler, functools.partial(coroutine)],
    ids=["coroutine", "async generator", "object", "class", "partial"],
)
def test_an_async_handler_is_refused_with_the_cure(handler: Any) -> None:
    """It would return something that nobody awaits."""
    with pytest.raises(InvalidHandler, match=r"is async; .*write def.*async_to_sync"):
        shape_of(handler, (Create,))


def generator(command: Create) -> Iterator[int]:
    """Be a generator."""
    yield 1


class GeneratorHandler(SyncRequestHandler[Create, Any]):
    """A class handler whose ``handle`` is a generator."""

    def handle(self, command: Create) -> Iterator[int]:
        """Be a generator."""
        yield 1


@pytest.mark.parametrize("handler", [generator, GeneratorHandler, functools.partial(generator)], ids=["f", "c", "p"])
def test_a_generator_for_a_command_is_refused_with_the_cure(handler: Any) -> None:
    """It would do nothing when called."""
    with pytest.raises(InvalidHandler, match=r"is a generator, which cannot answer Create; return the answer"):
        shape_of(handler, (Create,))


def test_a_third_positional_parameter_is_refused_with_the_cure() -> None:
    """Dependencies are taken by keyword only."""

    def create(command: Create, publish: Publish, users: Users) -> int:
        return 1

    with pytest.raises(InvalidHandler, match=r"function .*create: the parameter users .*write \* before users"):
        shape_of(create, (Create,))


@pytest.mark.parametrize("annotation", [Users, int, Users | None, list[int]], ids=str)
def test_a_second_parameter_that_is_no_publish_is_refused_with_the_cure(annotation: Any) -> None:
    """It would be given ``publish``."""

    def create(command, users):  # type: ignore[no-untyped-def]
        return 1

    create.__annotations__["users"] = annotation

    with pytest.raises(InvalidHandler, match=r"second parameter is publish.*write \* before users"):
        shape_of(create, (Create,))


def test_an_injected_parameter_without_a_type_is_refused_with_the_cure() -> None:
    """There is nothing to find it by."""

    def create(command: Create, *, users) -> int:  # type: ignore[no-untyped-def]
        return 1

    with pytest.raises(InvalidHandler, match=r"the parameter users has no type.*write users: SomeType"):
        shape_of(create, (Create,))


def test_an_injected_parameter_of_init_without_a_type_is_refused() -> None:
    """In classes as in functions."""

    class CreateHandler(SyncRequestHandler[Create, int]):
        def __init__(self, users) -> None: ...  # type: ignore[no-untyped-def]

        def handle(self, command: Create) -> int:
            return 1

    with pytest.raises(InvalidHandler, match=r"CreateHandler: the parameter users has no type"):
        shape_of(CreateHandler, (Create,))


def test_a_function_without_parameters_is_refused() -> None:
    """It takes no message."""
    with pytest.raises(InvalidHandler, match=r"takes no message; its first parameter is the message"):
        shape_of(lambda: 1, (Create,))


def wrong(command: Rename) -> int:
    """Take another command."""
    return 1


def wrong_union(event: Rename | Removed) -> None:
    """Take two others."""


class WrongHandler(SyncRequestHandler[Rename, int]):
    """Take another command."""

    def handle(self, command: Rename) -> int:
        """Answer."""
        return 1


@pytest.mark.parametrize(
    ("handler", "message", "takes"),
    [
        (wrong, Create, "Rename"),
        (WrongHandler, Create, "Rename"),
        (wrong_union, Created, r"Rename \| Removed"),
        (lambda command: 1, Create, None),
    ],
    ids=["function", "class", "union", "untyped"],
)
def test_a_handler_of_another_message_is_refused(handler: Any, message: Any, takes: str | None) -> None:
    """The error names the handler, what it takes, and what it was to handle."""
    if takes is None:
        assert shape_of(handler, (message,))
        return
    with pytest.raises(InvalidHandler, match=f"takes {takes}; it cannot handle {message.__name__}"):
        shape_of(handler, (message,))


def test_a_handler_of_several_events_must_take_each_of_them() -> None:
    """One that takes only the first is refused for the second."""

    def handler(event: Created) -> None: ...

    with pytest.raises(InvalidHandler, match=r"takes Created; it cannot handle Removed"):
        shape_of(handler, (Created, Removed))


def test_a_class_without_handle_is_refused() -> None:
    """With the signature that it lacks."""

    class Empty(SyncRequestHandler[Create, int]): ...

    with pytest.raises(InvalidHandler, match=r"class .*Empty has no method handle\(self, message\)"):
        shape_of(Empty, (Create,))


def test_a_class_that_derives_from_nothing_is_refused_with_the_cure() -> None:
    """It names the base that fits the message."""

    class Stranger:
        def handle(self, command: Create) -> int:
            return 1

    with pytest.raises(InvalidHandler, match=r"derive it from SyncRequestHandler"):
        shape_of(Stranger, (Create,))
    with pytest.raises(InvalidHandler, match=r"derive it from SyncEventHandler"):
        shape_of(Stranger, (Created,))


def test_a_request_handler_class_cannot_handle_an_event() -> None:
    """The bases say which is which."""
    with pytest.raises(InvalidHandler, match=r"cannot handle Created: derive it from SyncEventHandler"):
        shape_of(WrongHandler, (Created,))


def test_dependencies_of_a_class_go_into_init() -> None:
    """``handle`` takes the message and nothing else."""

    class Create2(SyncRequestHandler[Create, int]):
        def handle(self, command: Create, publish: Publish) -> int:  # type: ignore[override]
            return 1

    with pytest.raises(InvalidHandler, match=r"handle takes the message and nothing else; dependencies go into"):
        shape_of(Create2, (Create,))


@pytest.mark.parametrize("handler", [7, None, "create", WrongHandler()], ids=["int", "None", "str", "instance"])
def test_what_cannot_be_called_is_refused(handler: Any) -> None:
    """An instance of a class handler too: its class is what is registered."""
    with pytest.raises(InvalidHandler, match=r"is not callable; register a function or a class"):
        shape_of(handler, (Create,))


# Around them


def test_a_handler_is_described_by_kind_and_full_name() -> None:
    """So that an error leads to the line."""
    assert describe(coroutine) == f"function {__name__}.coroutine"
    assert describe(AsyncHandler) == f"class {__name__}.AsyncHandler"
    assert describe(AsyncCallable()) == f"object {__name__}.AsyncCallable"
    assert describe(functools.partial(coroutine)) == "object functools.partial"


def test_a_handler_is_called_by_itself_in_a_unit_test() -> None:
    """No mediator, no mock: events go into a list."""

    def create(command: Create, publish: Publish) -> int:
        publish(Created())
        return 1

    events: list[Any] = []
    answer = create(Create(), events.append)

    assert (answer, events) == (1, [Created()])


def test_publish_of_a_class_outside_of_a_dispatch_names_the_cure() -> None:
    """``with recording() as events:``."""
    handler = FrozenHandler(Users())

    with pytest.raises(NotPublished, match=r"Created was published outside of a dispatch.*with recording\(\)"):
        handler.handle(Create())


def test_recording_lets_a_class_handler_publish_in_a_unit_test() -> None:
    """What it published is in the list."""
    with recording() as events:
        FrozenHandler(Users()).handle(Create())

    assert events == [Created()]


def test_a_class_handler_without_handle_says_so_when_it_is_called() -> None:
    """If somebody calls the base's method by hand."""

    class Empty(SyncEventHandler[Created]): ...

    with pytest.raises(InvalidHandler, match="Empty has no method handle"):
        Empty().handle(Created())


def test_a_default_is_not_silently_replaced_by_publish() -> None:
    """Loops bind their variables so; the error says how to do it here."""

    def create(command: Create, number: Any = 7) -> int:
        return number  # type: ignore[no-any-return]

    with pytest.raises(InvalidHandler, match=r"would replace the default of number; write \* before number"):
        shape_of(create, (Create,))
