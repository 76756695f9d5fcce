"""What the settings COMPRESS, CLAIMS and SIGNATURE_KEYS do to rows, brokers and consumers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from attrs import evolve, frozen
from django.core import checks
from django.core.files.storage import InMemoryStorage
from django.core.management import call_command
from django.db import transaction

from django_cqrs.admin import DeadAdmin
from django_cqrs.brokers import broker
from django_cqrs.claims import StorageClaims
from django_cqrs.codecs import project_packing
from django_cqrs.conf import read_settings
from django_cqrs.inspection import DjangoInspection
from django_cqrs.models import Dead, Inbox, Outbox, ParkedInbox, Seen
from simplecqrs import NotificationEvent, Publish, Retry
from simplecqrs.brokers.diator import Diator
from simplecqrs.codec import JSONCodec
from simplecqrs.envelope import SIGNATURE
from simplecqrs.errors import ClaimMissing, InvalidPayload, NotConfigured
from simplecqrs.memory import MemoryBroker
from simplecqrs.metadata import new_metadata
from simplecqrs.packing import MemoryClaims, Signer
from simplecqrs.vocabulary import Vocabulary
from tests.desk.project import Project

SECRET, OTHER = "s" * 32, "o" * 32
EVENTS = {"events": {"BACKEND": "simplecqrs.memory.MemoryBroker"}}
LARGE = "x" * 5000

kept = MemoryClaims()


@frozen
class Said(NotificationEvent, topic="talk", key="who"):
    """Something, at any length."""

    who: str
    text: str = ""


@pytest.fixture
def configure(settings: Any, tmp_path: Path) -> Callable[..., None]:
    """Return what sets more of DJANGO_CQRS; files go to a folder of the test's own."""
    files = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}}
    settings.STORAGES = {**settings.STORAGES, "claims": files}

    def configure(**more: Any) -> None:
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, **more}

    return configure


def hear(project: Project, **options: Any) -> list[str]:
    """Register a consumer, and return what it hears."""
    heard: list[str] = []

    def note(event: Any, publish: Publish) -> None:
        heard.append(event.text)

    project.consume(Said, work=note, consumer="ear", **options)
    return heard


# Compression and claim checks


@pytest.mark.usefixtures("committed")
def test_rows_of_every_kind_are_read_side_by_side(configure: Callable[..., None], project: Project) -> None:
    """Plain ones, compressed ones of two algorithms, and what went elsewhere; by who would write neither."""
    heard = hear(project)
    for more in (
        {},
        {"COMPRESS": {"above": 1000}},
        {"COMPRESS": {"above": 1000, "by": "zstd", "level": 19}},
        {"COMPRESS": None, "CLAIMS": {"above": 1000, "storage": "claims"}},
    ):
        configure(**more)
        Project.current.bus = project.bus = type(project.bus)(project.registry)
        project.publish(Said("ada", LARGE))

    types = Outbox.objects.order_by("pk").values_list("content_type", flat=True)
    assert list(types) == [
        "application/json",
        "application/json+zlib",
        "application/json+zstd",
        "application/vnd.simplecqrs.claim+json",
    ]
    configure(COMPRESS=None)
    project.ship()
    project.work()
    assert heard == [LARGE] * 4


@pytest.mark.usefixtures("committed")
def test_a_payload_of_a_command_that_fails_remains_and_does_no_harm(
    configure: Callable[..., None], project: Project, tmp_path: Path
) -> None:
    """Nobody asks for it: its row is gone."""
    configure(CLAIMS={"above": 1000, "storage": "claims"})
    hear(project)

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        project.bus.publish(Said("ada", LARGE))
        _ = 1 // 0

    assert Outbox.objects.count() == 0
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


@pytest.mark.usefixtures("committed")
def test_a_payload_that_is_missing_is_waited_for_and_then_dead(
    configure: Callable[..., None], project: Project, tmp_path: Path
) -> None:
    """A retry finds it when it is back."""
    configure(CLAIMS={"above": 1000, "storage": "claims"})
    heard = hear(project, retry=Retry(2, first=0.001))
    project.publish(Said("ada", LARGE))
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    content = file.read_bytes()
    file.unlink()
    project.ship()

    while not Dead.objects.exists():
        project.work()
    file.write_bytes(content)
    letter = Dead.objects.get()
    DjangoInspection("default").retry(letter.pk)
    project.work()

    assert letter.attempts == 2
    assert letter.reason.startswith("ClaimMissing: no payload is kept as ")
    assert heard == [LARGE]


@pytest.mark.usefixtures("committed")
def test_people_see_what_is_in_a_dead_letter(configure: Callable[..., None], project: Project) -> None:
    """At the terminal and in the admin; a bomb they see as it is."""
    configure(COMPRESS={"above": 100})
    project.consume(Said, work=lambda event, publish: 1 // 0, consumer="ear", retry=Retry(1))
    project.publish(Said("ada", LARGE))
    project.ship()
    project.work()
    letter, said = Dead.objects.get(), StringIO()

    call_command("cqrs_dead", "show", str(letter.pk), "--full", stdout=said)

    assert len(bytes(letter.payload)) < 100
    assert f'"text": "{LARGE}"' in said.getvalue()
    assert "format      application/json+zlib" in said.getvalue()
    assert '{"who": "ada", "text": "xxx' in DeadAdmin(Dead, None).shown_payload(letter)  # type: ignore[arg-type]


def test_a_storage_of_django_keeps_payloads_by_day(configure: Callable[..., None], tmp_path: Path) -> None:
    """A reference does not say in which folder; the same message may be put twice."""
    claims, message = StorageClaims("claims"), uuid4()

    first, second = claims.put(message, b"one"), claims.put(message, b"two")

    assert first.split("/")[1] == str(message)
    assert (tmp_path / "cqrs-claims" / first).read_bytes() == b"one"
    assert [claims.get(reference, limit=100) for reference in (first, second)] == [b"one", b"two"]
    assert claims.get(first, limit=1) == b"on"
    with pytest.raises(ClaimMissing, match=r"no payload is kept as .* in the storage 'claims'"):
        claims.get(f"2026-01-01/{message}", limit=1)


class Renaming(InMemoryStorage):
    """Names files as it likes."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Put the name of the month into it."""
        return name.replace("cqrs-claims/", "cqrs-claims/november/")


def test_a_storage_that_renames_is_told_where_it_is_used(settings: Any) -> None:
    """Nobody would take such a reference back, since it may name any file."""
    settings.STORAGES = {**settings.STORAGES, "claims": {"BACKEND": f"{__name__}.Renaming"}}

    with pytest.raises(NotConfigured, match=r"the storage 'claims' has renamed cqrs-claims/.* to .*november"):
        StorageClaims("claims").put(uuid4(), b"one")


@pytest.mark.parametrize(
    "reference",
    ["../secret", "/etc/passwd", "2026-01-01/../../secret", "\u0662026-01-01/" + "0" * 36, "", "a" * 300, "\0"],
)
def test_a_reference_from_outside_leads_nowhere_else(
    configure: Callable[..., None], tmp_path: Path, reference: str
) -> None:
    """Strangers may write anything."""
    (tmp_path / "secret").write_text("x")

    with pytest.raises(InvalidPayload, match="which was never put there"):
        StorageClaims("claims").get(reference, limit=10)


def test_a_store_of_ones_own_may_be_named(configure: Callable[..., None]) -> None:
    """An object, or a class without arguments."""
    for path in (f"{__name__}.kept", "simplecqrs.packing.MemoryClaims"):
        configure(CLAIMS={"store": path, "above": 10})

        found = project_packing().claims

        assert found is not None
        assert isinstance(found.store, MemoryClaims)
        assert found.above == 10


# Signatures


def listen(configure: Callable[..., None], project: Project, **more: Any) -> tuple[list[str], MemoryBroker]:
    """Let a consumer hear by way of a broker that anybody can write to, and only what was signed."""
    configure(
        BROKERS=EVENTS,
        ROUTES={"talk": ["events"]},
        CONSUMERS={"ear": {"broker": "events", "signed": True}},
        SIGNATURE_KEYS={"a": SECRET},
        **more,
    )
    found = broker("events")
    assert isinstance(found, MemoryBroker)
    return hear(project), found


@pytest.mark.usefixtures("committed")
def test_what_a_relay_ships_is_signed_and_believed(configure: Callable[..., None], project: Project) -> None:
    """Compressed before; the row in the outbox has no signature yet."""
    heard, events = listen(configure, project, COMPRESS={"above": 1000})
    project.publish(Said("ada", LARGE))
    assert SIGNATURE not in Outbox.objects.get().headers

    project.ship()
    project.work()

    [sent] = events.published
    assert Signer({"a": SECRET}).problem(sent) == ""
    assert heard == [LARGE]


@pytest.mark.usefixtures("committed")
def test_what_is_not_signed_is_dead_with_its_bytes_and_never_handled(
    configure: Callable[..., None], project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """The real message of that id comes in all the same, and nothing waits."""
    heard, events = listen(configure, project)
    project.publish(Said("ada", "real"))
    project.ship()
    [sent] = events.published
    events._topics["talk"].clear()
    unsigned = evolve(sent, payload=b'{"who":"ada","text":"forged"}', headers={})
    events.publish([unsigned, evolve(sent, payload=b"{}"), sent], deadline=1)

    with caplog.at_level(logging.ERROR):
        project.work()

    assert heard == ["real"]
    letters = Dead.objects.order_by("pk")
    assert [(d.reason, bytes(d.payload), d.message_id, d.name, d.holds) for d in letters] == [
        ("not to be believed: it is not signed", unsigned.payload, sent.id, sent.name, False),
        ("not to be believed: it is not what was signed with the key 'a'", b"{}", sent.id, sent.name, False),
    ]
    assert Seen.objects.count() == 1
    assert ParkedInbox.objects.count() == 0
    assert SECRET not in caplog.text


@pytest.mark.usefixtures("committed")
def test_a_letter_is_let_in_when_its_key_has_become_known(configure: Callable[..., None], project: Project) -> None:
    """By an operator's retry, through the door, so that it is handled once; before that it stays."""
    heard, _ = listen(configure, project)
    project.publish(Said("ada", "hello"))
    configure(SIGNATURE_KEYS={"b": OTHER})
    events_then = broker("events")
    project.ship()
    assert isinstance(events_then, MemoryBroker)
    [sent] = events_then.published
    configure(SIGNATURE_KEYS={"a": SECRET})
    consuming = broker("events")
    consuming.publish([sent], deadline=1)
    project.work()
    [letter] = Dead.objects.all()
    inspection, said = DjangoInspection("default"), StringIO()

    assert letter.reason == "not to be believed: it is signed with the key 'b', which is not known here"
    assert not inspection.retry(letter.pk)
    configure(SIGNATURE_KEYS={"a": SECRET, "b": OTHER})
    call_command("cqrs_dead", "retry", str(letter.pk), stdout=said)
    broker("events").publish([sent], deadline=1)
    project.work()

    assert heard == ["hello"]
    assert Dead.objects.count() == Inbox.objects.count() == 0


@pytest.mark.usefixtures("committed")
def test_our_own_database_needs_no_signature(configure: Callable[..., None], project: Project) -> None:
    """Who can write to it can write anything."""
    configure(SIGNATURE_KEYS={"a": SECRET})
    heard = hear(project)
    project.publish(Said("ada", "hello"))

    project.ship()

    assert SIGNATURE not in Inbox.objects.get().headers
    project.work()
    assert heard == ["hello"]


# Mistakes


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a size below nothing": ({"COMPRESS": {"above": -1}}, "COMPRESS={'above': -1} cannot be"),
    "an algorithm": ({"COMPRESS": {"by": "lz4"}}, "'by' must be in ('zlib', 'zstd')"),
    "a level": ({"COMPRESS": {"level": 10}}, "zlib has levels from 1 to 9, not 10"),
    "no dict": ({"COMPRESS": True}, "COMPRESS=True cannot be: it is a dict"),
    "an unknown key": ({"CLAIMS": {"bucket": "x"}}, "unexpected keyword argument 'bucket'"),
    "a short key": ({"SIGNATURE_KEYS": {"a": "secret"}}, "SIGNATURE_KEYS cannot be: the key 'a' is no text of 32"),
    "a key alone": ({"SIGNATURE_KEYS": "secret"}, "SIGNATURE_KEYS cannot be: it is a dict"),
    "a broker's address alone": ({"BROKERS": "redis://:secret@host"}, "BROKERS cannot be: it is a dict"),
    "an address in place of options": (
        {"BROKERS": {"events": {**EVENTS["events"], "OPTIONS": "redis://:secret@host"}}},
        "OPTIONS cannot be: it is a dict",
    ),
    "signed without keys": (
        {"BROKERS": EVENTS, "CONSUMERS": {"a": {"broker": "events", "signed": True}}},
        "CONSUMERS['a']: signed=True needs keys: SIGNATURE_KEYS",
    ),
    "signed by ourselves": (
        {"SIGNATURE_KEYS": {"a": SECRET}, "CONSUMERS": {"a": {"signed": True}}},
        "signed=True is about what comes from a broker, and 'database' is this project itself",
    ),
}


@pytest.mark.parametrize(("raw", "complaint"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_work_is_said_without_a_secret(raw: dict[str, Any], complaint: str) -> None:
    """All at once, at the start."""
    _, problems = read_settings(raw)

    assert len(problems) == 1
    assert complaint in problems[0]
    assert "secret" not in problems[0].lower().replace("secrets", "")


def test_the_settings_do_not_show_a_secret() -> None:
    """Wherever they are printed."""
    address = {**EVENTS["events"], "OPTIONS": {"url": f"redis://:{SECRET}@host"}}
    found, problems = read_settings({"SIGNATURE_KEYS": {"a": SECRET}, "BROKERS": {"events": address}})

    assert problems == []
    assert found.brokers["events"].options["url"].endswith("@host")
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("claims", "complaint"),
    [
        ({"storage": "nowhere"}, "CLAIMS: the storage 'nowhere': "),
        ({"store": "tests.desk.nowhere"}, "'tests.desk.nowhere' cannot be imported"),
        ({"store": "tests.desk.models.Ticket"}, "'tests.desk.models.Ticket' is no ClaimStore: it has no put and get"),
        ({"store": "simplecqrs.packing.Claims"}, "'simplecqrs.packing.Claims' cannot be made without arguments"),
    ],
    ids=["storage", "path", "class", "arguments"],
)
def test_where_nothing_can_be_put_is_said_by_the_checks(
    configure: Callable[..., None], claims: dict[str, Any], complaint: str
) -> None:
    """Before the first large payload."""
    configure(CLAIMS=claims)

    found = [str(message.msg) for message in checks.run_checks(tags=["cqrs"])]

    assert [complaint in said for said in found] == [True]


@pytest.mark.parametrize("spoken", ["diator", Diator()], ids=["name", "object"])
def test_who_compresses_for_readers_that_are_not_ours_is_warned(configure: Callable[..., None], spoken: Any) -> None:
    """They could not read it."""
    options = {"url": "redis://127.0.0.1:1/0", "format": spoken}
    configure(BROKERS={"old": {"BACKEND": "simplecqrs.brokers.redis.RedisStreams", "OPTIONS": options}})
    assert checks.run_checks(tags=["cqrs"]) == []

    configure(COMPRESS={"above": 10})

    [said] = checks.run_checks(tags=["cqrs"])
    assert said.id == "cqrs.W011"
    assert "BROKERS['old'] speaks as" in str(said.msg)


def test_a_storage_that_there_is_not_is_an_error_where_it_is_asked_for() -> None:
    """With what to name."""
    with pytest.raises(NotConfigured, match="name one of STORAGES"):
        StorageClaims("nowhere")


def test_a_claim_check_is_text_that_people_can_read(configure: Callable[..., None]) -> None:
    """In the outbox, in a dead letter, at a broker."""
    configure(CLAIMS={"above": 10, "storage": "claims"}, COMPRESS={"above": 10})
    packing = project_packing()

    sent = Vocabulary([Said], codec=JSONCodec(), packing=packing).envelope(Said("ada", LARGE), new_metadata(None, None))

    claim = json.loads(sent.payload)
    assert claim["content_type"] == "application/json+zlib"
    assert str(sent.id) in claim["reference"]
