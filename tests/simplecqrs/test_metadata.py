"""What is known about a message: current(), context(...), causes and threads."""

from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, Metadata, Publish, Query, Registry, context, current
from simplecqrs.errors import InvalidMessage, OutsideDispatch
from simplecqrs.metadata import uuid7


@frozen
class Outer(Command[None]):
    """Sends Inner, in most tests."""


@frozen
class Inner(Command[None]):
    """Is sent by Outer."""


@frozen
class Ask(Query[Metadata]):
    """Answers with the metadata that it was handled with."""


@frozen
class Happened(DomainEvent):
    """Is published."""

    number: int = 0


@frozen
class Followed(DomainEvent):
    """Is published by a handler of Happened."""


def asking() -> Mediator:
    """Return a mediator that answers Ask."""
    registry = Registry()
    registry.add(Ask, lambda query: current())
    return Mediator(registry)


#: Makes an id, then 200 in each of two processes.
FORKING = """
import os
from simplecqrs.metadata import uuid7

os.write(1, uuid7().bytes)
child = os.fork()
os.write(1, b"".join(uuid7().bytes for _ in range(200)))
if child:
    os.waitpid(child, 0)
os._exit(0)
"""


def test_metadata_has_an_id_of_version_7_and_an_aware_time() -> None:
    """The time is now, in UTC."""
    metadata = asking().send(Ask())

    assert metadata.id.version == 7
    assert metadata.time.tzinfo is timezone.utc
    assert abs(datetime.now(timezone.utc) - metadata.time) < timedelta(minutes=1)


def test_what_nobody_caused_is_its_own_first_cause() -> None:
    """The correlation id is the message's own; there is no causation id, and there are no headers."""
    metadata = asking().send(Ask())

    assert metadata.correlation_id == str(metadata.id)
    assert metadata.causation_id is None
    assert dict(metadata.headers) == {}


def test_each_message_has_its_own_id() -> None:
    """Two sends are two messages, even of one object."""
    bus, ask = asking(), Ask()

    assert bus.send(ask).id != bus.send(ask).id


def test_a_process_that_was_forked_makes_ids_of_its_own() -> None:
    """Random bits that are kept for ids to come are not shared with a child."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, check=True)

    random_bits = [done.stdout[at + 6 : at + 16] for at in range(0, len(done.stdout), 16)]
    assert (len(random_bits), len(set(random_bits))) == (401, 401)


def test_current_is_the_same_however_often_it_is_asked() -> None:
    """Metadata is made once per message."""
    registry = Registry()
    registry.add(Ask, lambda query: current() is current())

    assert Mediator(registry).send(Ask()) is True


def test_current_outside_of_a_handler_raises() -> None:
    """There is nothing to tell about."""
    with pytest.raises(OutsideDispatch, match="outside of a handler"):
        current()


def test_a_nested_message_knows_its_cause_and_shares_the_correlation() -> None:
    """Also if the outer handler never asked for its own metadata before."""
    seen: list[Metadata] = []
    registry = Registry()
    bus = Mediator(registry)

    @registry.handles(Outer)
    def outer(command: Outer) -> None:
        bus.send(Inner())
        seen.append(current())

    @registry.handles(Inner)
    def inner(command: Inner) -> None:
        seen.append(current())

    bus.send(Outer())
    nested, first = seen

    assert nested.causation_id == str(first.id)
    assert nested.correlation_id == first.correlation_id == str(first.id)
    assert nested.id != first.id


def test_events_know_the_message_whose_handler_published_them() -> None:
    """Event after event: each one's cause is the message before."""
    seen: list[Metadata] = []
    registry = Registry()

    @registry.handles(Outer)
    def outer(command: Outer, publish: Publish) -> None:
        publish(Happened())
        seen.append(current())

    @registry.handles(Happened)
    def happened(event: Happened, publish: Publish) -> None:
        publish(Followed())
        seen.append(current())

    @registry.handles(Followed)
    def followed(event: Followed) -> None:
        seen.append(current())

    Mediator(registry).send(Outer())

    assert [m.causation_id for m in seen] == [None, str(seen[0].id), str(seen[1].id)]
    assert {m.correlation_id for m in seen} == {str(seen[0].id)}


def test_all_handlers_of_an_event_see_the_same_metadata() -> None:
    """An event has one id, however many handle it."""
    seen: list[Metadata] = []
    registry = Registry()
    registry.add(Outer, lambda command, publish: publish(Happened()))
    registry.add(Happened, lambda event: seen.append(current()))
    registry.add(Happened, lambda event: seen.append(current()))

    Mediator(registry).send(Outer())

    assert seen[0] is seen[1]


def test_context_sets_what_messages_inside_carry() -> None:
    """Correlation id and headers."""
    bus = asking()

    with context(correlation_id="request-1", user="7", tenant="acme"):
        metadata = bus.send(Ask())

    assert metadata.correlation_id == "request-1"
    assert dict(metadata.headers) == {"user": "7", "tenant": "acme"}


def test_contexts_nest_and_end() -> None:
    """The inner one adds to the outer one, and both are gone afterwards."""
    bus = asking()

    with context(correlation_id="1", user="7"):
        with context(user="8", tenant="acme"):
            inside = bus.send(Ask())
        between = bus.send(Ask())
    after = bus.send(Ask())

    assert (inside.correlation_id, dict(inside.headers)) == ("1", {"user": "8", "tenant": "acme"})
    assert (between.correlation_id, dict(between.headers)) == ("1", {"user": "7"})
    assert (after.correlation_id, dict(after.headers)) == (str(after.id), {})


def test_a_context_ends_when_its_block_fails() -> None:
    """What comes later is not touched."""
    with pytest.raises(LookupError), context(user="7"):
        raise LookupError

    assert dict(asking().send(Ask()).headers) == {}


@pytest.mark.parametrize("values", [{"user": 7}, {"correlation_id": 7}, {"tenant": None}], ids=str)
def test_what_is_no_string_is_refused_with_the_cure(values: dict[str, Any]) -> None:
    """Headers go over the wire as strings."""
    with pytest.raises(InvalidMessage, match=r"strings.*str\("), context(**values):
        pass


def test_a_context_inside_a_handler_does_not_change_the_message_that_is_handled() -> None:
    """It is about messages that follow."""
    seen: list[Metadata] = []
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Inner, lambda command: seen.append(current()))

    @registry.handles(Outer)
    def outer(command: Outer) -> None:
        with context(user="7"):
            seen.append(current())
            bus.send(Inner())

    bus.send(Outer())

    assert [dict(m.headers) for m in seen] == [{}, {"user": "7"}]


def test_an_event_carries_the_context_in_which_it_was_published() -> None:
    """Not the one in which it is handled."""
    seen: list[tuple[int, Metadata]] = []
    registry = Registry()
    registry.add(Happened, lambda event: seen.append((event.number, current())))

    @registry.handles(Outer)
    def outer(command: Outer, publish: Publish) -> None:
        with context(tenant="a"):
            publish(Happened(1))
        with context(tenant="b"):
            publish(Happened(2))

    with context(tenant="outside", user="7"):
        Mediator(registry).send(Outer())

    assert [(n, dict(m.headers)) for n, m in seen] == [
        (1, {"tenant": "a", "user": "7"}),
        (2, {"tenant": "b", "user": "7"}),
    ]


def test_a_follow_up_carries_what_its_cause_carries_and_not_what_was_set_before_that() -> None:
    """The chain of causes is newer than the context in which it began."""
    seen: list[Metadata] = []
    registry = Registry()
    registry.add(Happened, lambda event, publish: publish(Followed()))
    registry.add(Followed, lambda event: seen.append(current()))

    @registry.handles(Outer)
    def outer(command: Outer, publish: Publish) -> None:
        with context(correlation_id="inner", tenant="a"):
            publish(Happened())

    with context(correlation_id="outside", tenant="outside"):
        Mediator(registry).send(Outer())

    assert seen[0].correlation_id == "inner"
    assert dict(seen[0].headers) == {"tenant": "a"}


def test_a_nested_command_keeps_its_context_when_its_events_are_asked_later() -> None:
    """Metadata is made lazily, but never of a context that began later or has ended."""
    seen: list[Metadata] = []
    registry = Registry()
    bus = Mediator(registry)
    registry.add(Happened, lambda event: seen.append(current()), after_commit=True)
    registry.add(Inner, lambda command, publish: publish(Happened()))

    @registry.handles(Outer)
    def outer(command: Outer) -> None:
        with context(user="7"):
            bus.send(Inner())

    bus.send(Outer())

    assert dict(seen[0].headers) == {"user": "7"}


def test_only_context_travels_into_threads() -> None:
    """A copied context in another thread is not a nested send: no cause, but correlation id and headers."""
    seen: list[Metadata] = []
    bus = asking()
    registry = Registry()

    @registry.handles(Outer)
    def outer(command: Outer) -> None:
        with context(correlation_id="story", user="7"):
            copied = contextvars.copy_context()
            thread = threading.Thread(target=lambda: seen.append(copied.run(bus.send, Ask())))
            thread.start()
            thread.join()

    Mediator(registry).send(Outer())

    assert (seen[0].correlation_id, dict(seen[0].headers)) == ("story", {"user": "7"})
    assert seen[0].causation_id is None


def test_current_in_a_thread_that_a_handler_started_raises() -> None:
    """Nothing is handled there."""
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            current()
        except OutsideDispatch as error:
            errors.append(error)

    registry = Registry()

    @registry.handles(Outer)
    def outer(command: Outer) -> None:
        thread = threading.Thread(target=contextvars.copy_context().run, args=(ask,))
        thread.start()
        thread.join()

    Mediator(registry).send(Outer())

    assert len(errors) == 1


def test_headers_cannot_be_changed_by_who_reads_them() -> None:
    """Metadata is shared by all who handle an event."""
    with context(user="7"):
        metadata = asking().send(Ask())

    with pytest.raises(TypeError):
        metadata.headers["user"] = "8"  # type: ignore[index]


def test_uuid7_sorts_by_its_time_and_never_repeats() -> None:
    """The first 48 bits are milliseconds."""
    before = time.time_ns() // 1_000_000
    made = [uuid7() for _ in range(1000)]
    after = time.time_ns() // 1_000_000

    assert len(set(made)) == 1000
    assert all(before <= u.int >> 80 <= after for u in made)
    assert all(u.version == 7 and u.variant == UUID(int=2 << 62).variant for u in made)
