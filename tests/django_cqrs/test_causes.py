"""Dead letters by cause in the admin, and what is done to all of a cause at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
from attrs import frozen
from django.db import connections
from django.db.models import F
from django.test import Client

from django_cqrs.actions import Operator
from django_cqrs.bounded import narrowed
from django_cqrs.consumers import consumers
from django_cqrs.group_acts import act_on_group
from django_cqrs.loops import make_loop, run
from django_cqrs.models import Action, Dead
from simplecqrs import NotificationEvent, Publish, Retry
from simplecqrs.letters import LONGEST_CAUSE, Wanted
from tests.desk.crowds import multiply
from tests.desk.project import Project
from tests.desk.staff import staff

pytestmark = pytest.mark.usefixtures("committed")

CAUSES, CAUSE = "/admin/django_cqrs/dead/causes/", "/admin/django_cqrs/dead/cause/"
MARKUP = "<script>alert('you')</script>"


@frozen
class Sent(NotificationEvent, topic="mails", key="who"):
    """For everybody."""

    who: str


class Post:
    """Fails for the reasons that it is given, by who the mail is for."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.causes: dict[str, str] = {}
        project.consume(Sent, consumer="mailing", work=self.work, retry=Retry(1))

    def work(self, event: Sent, publish: Publish) -> None:
        if event.who in self.causes:
            raise ConnectionError(self.causes[event.who])

    def kill(self, **causes: str) -> None:
        """Let a mail to each of them die of something."""
        self.causes |= causes
        for who in causes:
            self.project.publish(Sent(who))
            self.project.ship()
            self.project.work("mailing")


@pytest.fixture
def post(project: Project) -> Post:
    """Return a post with letters of two causes."""
    post = Post(project)
    post.kill(ada="no server", bob="no server", eve="no server here")
    return post


@pytest.fixture
def root() -> Client:
    """Log a superuser in."""
    return staff(is_superuser=True)


def page_of(cause: str = "no server", **others: str) -> str:
    """Return the address of a cause."""
    place = {"database": "default", "box": "inbox", "queue": "mailing", "cause": f"ConnectionError: {cause}"}
    return f"{CAUSE}?{urlencode({**place, **others})}"


def act(client: Client, act: str, reason: str = "") -> str:
    """Do something to all letters of a cause, and return the page that comes then."""
    response = client.post(page_of(), {"act": act, "reason": reason}, follow=True)
    assert response.status_code == 200
    return str(response.content.decode())


@contextmanager
def running() -> Iterator[None]:
    """Run the consumer in a thread, as a daemon would."""
    stop = threading.Event()

    def consume() -> None:
        try:
            run(make_loop(consumers("mailing"), stop))
        finally:
            connections.close_all()

    thread = threading.Thread(target=consume)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_causes_are_counted_with_when_and_what(post: Post, root: Client) -> None:
    """The largest first, and each leads to its letters."""
    response = root.get(CAUSES)

    first, second = response.context["groups"]
    assert (first.found.count, first.found.cause, second.found.count) == (2, "ConnectionError: no server", 1)
    dead = list(Dead.objects.order_by("pk"))
    assert (first.found.first, first.found.last) == (dead[0].since, dead[1].since)
    assert first.names.endswith("Sent")
    page = root.get(f"{CAUSE}?{first.query}")
    assert [letter.key for letter in page.context["letters"]] == ["bob", "ada"]


def test_one_cause_is_no_other_that_begins_with_it(post: Post, root: Client) -> None:
    """A group is what has this first line, whatever follows in the next."""
    Dead.objects.filter(key="ada").update(reason="ConnectionError: no server\nwhat follows went on")
    Dead.objects.filter(key="eve").update(reason="x" * (LONGEST_CAUSE + 1))
    dead = Dead.objects.order_by("pk").values_list("key", flat=True)

    assert list(narrowed(dead, Wanted(whole_cause="ConnectionError: no server"))) == ["ada", "bob"]
    assert list(narrowed(dead, Wanted(whole_cause="ConnectionError: no"))) == []
    assert list(narrowed(dead, Wanted(whole_cause="x" * LONGEST_CAUSE))) == ["eve"]


def test_all_of_a_cause_are_skipped_with_a_reason(post: Post, root: Client) -> None:
    """Each is recorded, and the others stay."""
    assert "say why" in act(root, "skip")
    assert Dead.objects.count() == 3

    assert "2 are dropped; what waited behind them goes on; none is left" in act(root, "skip", reason="spam")

    assert [letter.key for letter in Dead.objects.all()] == ["eve"]
    assert {(action.act, action.who, action.reason) for action in Action.objects.all()} == {("skip", "ada", "spam")}


def test_a_retry_sends_a_canary_ahead(post: Post, root: Client) -> None:
    """One that fails again is the last one, and nothing is forgotten of what was asked."""
    with running():
        page = act(root, "retry", reason="the server is back")

    assert "1 failed again: ConnectionError: no server" in page
    assert "Stopped: " in page
    assert 'value="the server is back"' in page
    assert Action.objects.count() == 1
    assert Dead.objects.count() == 3


def test_what_is_mended_is_retried_to_the_last(post: Post, root: Client) -> None:
    """And the page of causes comes then."""
    post.causes.clear()
    with running():
        page = act(root, "retry", reason="the server is back")

    assert "2 of 2 went well; none is left" in page
    assert "Dead letters by cause" in page
    assert [letter.key for letter in Dead.objects.all()] == ["eve"]


def test_at_once_waits_for_nothing(post: Post, root: Client) -> None:
    """What becomes of them is seen later."""
    assert "2 are tried again now; none is left" in act(root, "retry_now")
    assert "gone already" in act(root, "retry_now")


def test_what_was_never_readable_is_told(post: Post, root: Client) -> None:
    """Only skipping helps."""
    Dead.objects.update(row=None)

    assert "2 can only be skipped" in act(root, "retry_now")
    assert "2 were never readable messages" in act(root, "retry")
    assert Dead.objects.count() == 3


@pytest.mark.parametrize("act", ["skip", "retry_now"])
def test_a_large_group_takes_several_requests(post: Post, act: str) -> None:
    """Each has its time, and tells how many are left."""
    multiply(Dead, 5)
    Dead.objects.update(row=F("pk") + 1000)
    wanted = Wanted(box="inbox", queue="mailing", whole_cause="ConnectionError: no server")
    operator = Operator("default", "ada", "spam")

    none = act_on_group(act, operator, wanted, seconds=0)
    some = act_on_group(act, operator, wanted, seconds=0.02)

    assert (none.done, none.left) == ("", 64)
    assert 0 < some.left < 64
    assert Dead.objects.count() - 32 == some.left


def test_only_the_newest_are_looked_at(post: Post, root: Client) -> None:
    """A cause of long ago comes into sight when what came later is settled: what a look costs has a bound."""
    multiply(Dead, 12)
    first = Dead.objects.earliest("pk")
    Dead.objects.filter(pk=first.pk).update(reason="long ago")
    wanted, operator = Wanted(whole_cause="long ago"), Operator("default", "ada", "spam")

    hidden = act_on_group("skip", operator, wanted)
    response = root.get(CAUSES)
    Dead.objects.filter(pk__gt=first.pk + 100).delete()
    seen = act_on_group("skip", operator, wanted)

    assert (hidden.done, hidden.left) == ("", 0)
    assert [group.found.cause for group in response.context["groups"]] == [
        "ConnectionError: no server", "ConnectionError: no server here",
    ]  # fmt: skip
    assert not response.context["is_whole"]
    assert seen.done.startswith("1 are dropped")


def test_a_canary_whose_time_is_up_leaves_the_rest(post: Post) -> None:
    """Those that are at work are told apart from those that nobody works on."""
    post.causes.clear()
    wanted = Wanted(whole_cause="ConnectionError: no server")

    heard = act_on_group("retry", Operator("default", "ada"), wanted, seconds=0.05)

    assert heard.left == 1
    assert "had no outcome within 0.05 s; is cqrs_consume for mailing running?" in heard.trouble[0]
    assert "--run" not in heard.trouble[0]


def test_each_act_needs_its_permission(post: Post) -> None:
    """Who may look is offered nothing, and is refused what is posted all the same."""
    assert staff().get(CAUSES).status_code == 403
    assert staff().get(page_of()).status_code == 403
    viewer = staff("view_dead")
    assert "cqrs-reason" not in viewer.get(page_of()).content.decode()
    assert viewer.post(page_of(), {"act": "retry"}).status_code == 403
    mechanic = staff("view_dead", "retry_dead")
    assert "tried again" in act(mechanic, "retry_now")
    for other in ("skip", "drop", ""):
        assert mechanic.post(page_of(), {"act": other, "reason": "let me"}).status_code == 403

    assert {action.act for action in Action.objects.all()} == {"retry"}


def test_markup_and_long_texts_are_shown_as_texts(post: Post, root: Client) -> None:
    """Whatever a cause, a key or a name says."""
    Dead.objects.filter(key="ada").update(reason=MARKUP + "x" * 100_000, name=MARKUP, key=MARKUP, topic=MARKUP)
    Dead.objects.filter(key="bob").update(reason="", queue=MARKUP)

    pages = [root.get(CAUSES).content.decode()]
    pages += [root.get(f"{CAUSE}?{group.query}").content.decode() for group in root.get(CAUSES).context["groups"]]

    assert len(pages) == 4
    assert "&lt;script&gt;" in pages[0]
    assert [page for page in pages if "<script>alert" in page or len(page) > 20_000] == []


@pytest.mark.parametrize("page", [CAUSE, f"{CAUSE}?box=letters", page_of(box="<b>")])
def test_what_names_no_cause_is_not_found(root: Client, page: str) -> None:
    """A link that somebody has cut."""
    assert root.get(page).status_code == 404


def test_causes_of_all_aliases_are_shown(post: Post, root: Client) -> None:
    """And one of another alias is acted on there."""
    letter = Dead.objects.get(key="eve")
    Dead.objects.using("audit").bulk_create(
        [Dead(**{field.attname: getattr(letter, field.attname) for field in Dead._meta.concrete_fields})]
    )

    assert [group.database for group in root.get(CAUSES).context["groups"]] == ["default", "default", "audit"]
    root.post(page_of("no server here", database="audit"), {"act": "skip", "reason": "a duplicate"})

    assert (Dead.objects.count(), Dead.objects.using("audit").count()) == (3, 0)
    assert Action.objects.using("audit").get().reason == "a duplicate"
