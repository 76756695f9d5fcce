"""Acceptance rows 9 and 90, what of them is about doing it once and about trust; and weakness B23, shown absent."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from attrs import evolve, frozen
from django.core.management import call_command
from django.http import HttpRequest, JsonResponse
from django.test import RequestFactory

from django_cqrs import bus
from django_cqrs.http import answering_errors, idempotency_key
from django_cqrs.inbox import door
from django_cqrs.models import Dead, Idempotency, Inbox
from simplecqrs import Command, Mediator, NotificationEvent, Registry, load
from simplecqrs.errors import IdempotencyKeyReused
from simplecqrs.memory_idempotency import MemoryIdempotency
from simplecqrs.metadata import new_metadata
from tests.desk.messages import OpenTicket, Remind
from tests.desk.models import Note, Ticket
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Walk(Command[int], key="who"):
    """Somebody is to go somewhere else."""

    who: str
    step: int = 0


@frozen
class Moved(NotificationEvent, topic="moves", key="who"):
    """Somebody is somewhere else."""

    who: str


def notes() -> list[str]:
    """Return what handlers have written down."""
    return [note.text for note in Note.objects.order_by("id")]


# 9: a command is stored, and handled later by the handler that bus.send would ask


def test_row_09_a_command_that_is_stored_twice_under_its_key_is_handled_once() -> None:
    """Before and after it was handled, at once or due later; the worker has the same handler."""
    bus.send(Remind(1, "now"))
    for _ in range(2):
        bus.defer(Remind(1, "later"), idempotency_key="a")
        bus.defer(Remind(1, "much later"), due=timedelta(days=1), idempotency_key="b")
        call_command("cqrs_consume", "--drain", stdout=StringIO())

    assert notes() == ["remind 1 now", "remind 1 later"]


# 90: what a consumer takes


@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "not allowed"])
def test_row_90_a_command_from_outside_is_handled_only_where_that_was_said(
    project: Project, settings: Any, allowed: bool
) -> None:
    """In the order of its key, and nobody is answered; else it is a dead letter with its reason, and events go on."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "CONSUMERS": {"walk": {"allow_commands": allowed}}}
    done: list[int] = []
    project.registry.add(Walk, lambda command: done.append(command.step) or 7)
    project.consume(Moved, consumer="walk")
    wrap = project.bus.vocabulary.envelope
    told = [wrap(message, new_metadata(None, None)) for message in (Walk("ada", 1), Walk("ada", 2), Moved("ada"))]
    door("default").store("walk", [evolve(envelope, topic="moves") for envelope in told])

    project.work("walk")

    assert (done, project.seen) == ([1, 2] if allowed else [], ["walk ada"])
    assert Inbox.objects.count() == 0
    assert [d.reason.split(":")[0] for d in Dead.objects.all()] == ([] if allowed else ["CommandRefused"] * 2)


# B23: commands can be sent again


def test_b23_a_command_that_is_sent_again_is_done_once_and_answered_alike() -> None:
    """The answer is stored with the effect; other content under the key is refused."""
    first = bus.send(OpenTicket("printer"), idempotency_key="k")

    assert bus.send(OpenTicket("printer"), idempotency_key="k") == first
    with pytest.raises(IdempotencyKeyReused):
        bus.send(OpenTicket("scanner"), idempotency_key="k")
    assert Ticket.objects.count() == Idempotency.objects.count() == 1


def test_b23_without_django_too() -> None:
    """With transactions and keys in memory."""
    registry, store, steps = Registry(), MemoryIdempotency(), iter(range(10))
    registry.add(Walk, lambda command: next(steps))
    plain = Mediator(registry, idempotency=store, transaction=store.transaction)

    assert [plain.send(Walk("ada"), idempotency_key=key) for key in ("a", "b", "a", None)] == [0, 1, 0, 2]


def test_b23_a_request_says_its_key_by_the_header_of_the_ietf() -> None:
    """A repeat has the same response, another payload is refused, and a key is required."""

    @answering_errors()
    def view(request: HttpRequest) -> JsonResponse:
        command = load(OpenTicket, json.loads(request.body))
        return JsonResponse({"id": bus.send(command, idempotency_key=idempotency_key(request))}, status=201)

    def post(title: str, key: str = "") -> tuple[int, bytes]:
        headers = {"Idempotency-Key": key} if key else {}
        made = RequestFactory().post("/", {"title": title}, content_type="application/json", headers=headers)
        response = view(made)
        return response.status_code, response.content

    first = post("printer", '"k"')

    assert first[0] == 201
    assert post("printer", '"k"') == first
    assert [post("scanner", '"k"')[0], post("printer")[0]] == [422, 400]
