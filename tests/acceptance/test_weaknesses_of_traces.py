"""The weaknesses of the predecessors about seeing what goes on, shown absent: B24 (an audit log), B30 (traces)."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from attrs import field, frozen
from opentelemetry import trace

from django_cqrs.middlewares import logged
from django_cqrs.models import Outbox
from simplecqrs import Command, NotificationEvent, context
from tests.desk.project import Project
from tests.desk.spans import Spans, spans

__all__ = ["spans"]

pytestmark = pytest.mark.usefixtures("committed")

log_messages = logged(fields=True)


@frozen
class Pay(Command[None]):
    """A command."""

    who: str
    card: str = field(repr=False)


@frozen
class Paid(NotificationEvent, topic="payments"):
    """What it tells."""

    who: str


@pytest.fixture
def shop(project: Project) -> Project:
    """Return a project in which somebody pays."""
    project.registry.add(Pay, lambda command, publish: publish(Paid(command.who)))
    project.consume(Paid, consumer="books")
    return project


def test_b24_every_command_has_a_line_that_says_who_and_what(
    shop: Project, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """In fields, so that no text has to be read; of the events that it causes, too, and nothing that is secret."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "MIDDLEWARES": [f"{__name__}.log_messages"]}

    with caplog.at_level(logging.INFO, "simplecqrs"):
        with context(correlation_id="request-1", user="7", tenant="acme"):
            shop.bus.send(Pay("ada", "4111"))
        shop.ship()
        shop.work("books")

    pay, paid = [vars(record) for record in caplog.records if "cqrs_seconds" in vars(record)]
    assert (pay["cqrs_message"], pay["cqrs_fields"], pay["cqrs_user"], pay["cqrs_tenant"]) == (
        "Pay", {"who": "'ada'"}, "7", "acme",
    )  # fmt: skip
    assert (paid["cqrs_message"], paid["cqrs_causation_id"], paid["cqrs_user"]) == ("Paid", pay["cqrs_id"], "7")
    assert pay["cqrs_correlation_id"] == paid["cqrs_correlation_id"] == "request-1"
    assert "4111" not in caplog.text


def test_b30_there_are_traces_and_they_go_on_behind_the_outbox(shop: Project, settings: Any, spans: Spans) -> None:
    """Recorded when the event is published, and in its row."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "TRACING": True}

    with trace.get_tracer("test").start_as_current_span("request") as request:
        shop.bus.send(Pay("ada", "4111"))
    row = Outbox.objects.get()
    shop.ship()
    shop.work("books")

    assert f"{request.get_span_context().trace_id:032x}" == (row.traceparent or "").split("-")[1]
    assert {span.context.trace_id for span in spans.all if span.context} == {request.get_span_context().trace_id}
    assert {"Pay", "create payments", "send payments", "process payments", "Paid"} <= set(spans.names)
