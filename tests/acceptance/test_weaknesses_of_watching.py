"""The weakness B30 of the predecessors, shown absent: no metrics, no health checks, no admin; traces are beside."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import frozen
from django.contrib import admin
from django.core.management import call_command
from django.test import RequestFactory
from prometheus_client import CollectorRegistry, generate_latest

from django_cqrs import health, ticks
from django_cqrs.consumers import consumers
from django_cqrs.measures import Reader
from django_cqrs.models import Dead
from django_cqrs.prometheus import CQRSCollector
from simplecqrs import NotificationEvent, Publish, Retry
from tests.desk.project import Project

pytestmark = pytest.mark.usefixtures("committed")


@frozen
class Rang(NotificationEvent, topic="bells", key="who"):
    """For everybody."""

    who: str


def fail(event: Rang, publish: Publish) -> None:
    """Fail always."""
    raise ConnectionError("no door")


def test_b30_lag_age_and_attempts_are_metrics(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a further process: whoever can read the database can tell."""
    monkeypatch.setattr("django_cqrs.pulse.BEATS", 0.0)
    project.consume(Rang, consumer="one", work=fail, retry=Retry(1))
    consumers()
    project.publish(Rang("ada"), Rang("bob"))
    ticks.relay()
    ticks.consume("one")
    registry = CollectorRegistry()
    registry.register(CQRSCollector(Reader()))

    found = generate_latest(registry).decode()

    one = '{box="inbox",database="default",queue="one"}'
    assert f"cqrs_pending_messages{one} 0.0" in found
    assert f"cqrs_oldest_pending_seconds{one} 0.0" in found
    assert f"cqrs_dead_messages{one} 2.0" in found
    assert f"cqrs_failed_attempts_total{one} " in found
    assert 'cqrs_workers_alive{database="default",job="consumer one"} 1.0' in found


def test_b30_health_can_be_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By load balancers and by monitoring."""
    monkeypatch.setattr(health, "_probe", health.Probe(health._databases))

    answers = [view(RequestFactory().get("/")) for view in (health.live, health.ready)]
    call_command("cqrs_status", "--check", "--json")

    assert [(answer.status_code, json.loads(answer.content)) for answer in answers] == [(200, {"status": "ok"})] * 2
    assert json.loads(capsys.readouterr().out)["alarms"] == []


def test_b30_there_is_an_admin() -> None:
    """Of dead letters, with what can be done to them."""
    shown: Any = admin.site.get_model_admin(Dead)

    assert {"retry", "skip"} <= set(shown.actions)
