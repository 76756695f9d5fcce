"""A saga as Chromium shows it in Django's admin: its picture, without a script of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.desk.bookings import Trips
from tests.desk.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("committed")]


def test_the_admin_draws_the_way_that_a_saga_has_gone(
    page: Page, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is seen, in the same picture on a light page and on a dark one."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # Playwright has a loop in this thread, and we wait for it
    trips, client = Trips(project), Client()
    trips.broken["flight"] = OSError("no wings")
    saga_id = trips.run()
    client.force_login(User.objects.create_superuser("root"))
    html = client.get(f"/admin/django_cqrs/saga/{saga_id}/change/").content.decode()

    page.set_content(html)
    picture = page.locator(".field-picture svg")
    picture.wait_for()
    box = picture.bounding_box()

    assert box is not None
    assert box["width"] > 200
    assert box["height"] > 50
    for step in ("hotel", "flight", "leave", "postcard"):
        assert picture.locator("text", has_text=step).first.is_visible()
    assert page.locator(".field-picture script, .field-log script").count() == 0
    assert "undo act" in page.locator(".field-log").inner_text()
