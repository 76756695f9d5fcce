"""Tenants in schemas of PostgreSQL: nothing of one is seen in another, and one relay and one consumer serve all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pytest
from attrs import frozen
from django.apps import apps
from django.core.management import call_command
from django.db import ProgrammingError, connection, connections, transaction
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from django_cqrs import pressure, ticks
from django_cqrs.bells import Bells
from django_cqrs.consumers import consumers
from django_cqrs.databases import dialect
from django_cqrs.errors import OutboxFull
from django_cqrs.inspection import DjangoInspection
from django_cqrs.listening import Listener
from django_cqrs.loops import run
from django_cqrs.measures import MEASURES, Reader
from django_cqrs.middlewares import acting
from django_cqrs.models import Dead, History, Inbox, Outbox, Scheduled, Subscription
from django_cqrs.models import Saga as SagaRow
from django_cqrs.places import places_of
from django_cqrs.preflight import preflight
from django_cqrs.promotion import promoters
from django_cqrs.queue import DjangoStorage
from django_cqrs.relay import relays
from django_cqrs.rounds import Rounds
from django_cqrs.schemas import ask_in, in_schema
from django_cqrs.status import read_status
from django_cqrs.testing import run_all
from django_cqrs.trimming import trim
from simplecqrs import Command, DomainEvent, NotificationEvent, Publish, Query, Saga, Step, context, current
from simplecqrs.bell import Stop
from simplecqrs.envelope import Envelope
from simplecqrs.errors import NotConfigured
from simplecqrs.queue import DEFERRED
from simplecqrs.transport import ACCEPTED, Delivery, Trimmed
from tests.desk import processes
from tests.desk.models import Note
from tests.desk.project import Project

A, B = "tenant a", 'tenant"b%'
BOTH = (A, B)


@frozen
class Write(Command[int], name="desk.Write", key="text"):
    """Write a note."""

    text: str


@frozen
class Whose(Query[str | None], name="desk.Whose"):
    """Ask for the tenant."""


@frozen
class Written(NotificationEvent, name="desk.written", topic="written", key="who"):
    """A note was written."""

    who: str


@frozen
class Trip:
    """What a saga knows."""

    who: str


@frozen
class Noticed(DomainEvent, name="desk.noticed"):
    """Handled after the commit."""

    who: str


def names() -> list[str]:
    """Return the tenants, as a project would read them from a table."""
    return list(BOTH)


def quoted(schema: str) -> str:
    """Return a name as SQL has it."""
    return '"' + schema.replace('"', '""') + '"'


def tables() -> list[str]:
    """Return the tables that each tenant has."""
    models = [*apps.get_app_config("django_cqrs").get_models(), Note]
    return list(dict.fromkeys(model._meta.db_table for model in models))


@pytest.fixture(scope="session")
def schemas(django_db_setup: None, django_db_blocker: Any) -> None:
    """Make two schemas; they go with the database, since to drop them takes seconds."""
    with django_db_blocker.unblock(), transaction.atomic(), connection.cursor() as cursor:
        for schema in BOTH:
            cursor.execute(f"CREATE SCHEMA {quoted(schema)}")
            for table in tables():
                cursor.execute(f"CREATE TABLE {quoted(schema)}.{table} (LIKE public.{table} INCLUDING ALL)")


@pytest.fixture
def desk(schemas: None, committed: None, project: Project, settings: Any) -> Iterator[Project]:
    """Return a project of two tenants, in which each written note is noted once more by a consumer."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SCHEMAS": f"{__name__}.names"}

    def write(command: Write, publish: Publish) -> int:
        publish(Written(command.text))
        return Note.objects.create(text=command.text).pk

    def note(event: Written, publish: Publish) -> None:
        Note.objects.create(text=f"{current().headers['tenant']} {event.who}")

    project.registry.add(Write, write)
    project.consume(Written, consumer="mailing", work=note)
    yield project
    with connection.cursor() as cursor:
        for schema in BOTH:
            cursor.execute("; ".join(f"DELETE FROM {quoted(schema)}.{table}" for table in tables()))


def write_in(desk: Project, **texts: str) -> None:
    """Write a note for each tenant."""
    for schema, text in zip(BOTH, texts.values(), strict=True):
        with in_schema(schema):
            desk.bus.send(Write(text))


def notes(schema: str) -> list[str]:
    """Return a tenant's notes."""
    with in_schema(schema):
        return list(Note.objects.order_by("pk").values_list("text", flat=True))


def count(kind: Any) -> list[int]:
    """Count the rows in each schema, and in none."""
    found = []
    for schema in BOTH:
        with in_schema(schema):
            found.append(kind.objects.count())
    return [*found, kind.objects.count()]


def path() -> str:
    """Return where the connection is."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW search_path")
        return str(cursor.fetchone()[0])


def in_thread(work: Callable[[], Any]) -> Any:
    """Do something on another connection."""
    answers: list[Any] = []

    def do() -> None:
        try:
            answers.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=do)
    thread.start()
    thread.join()
    return answers[0]


@pytest.mark.needs("postgresql")
class TestSchemas:
    """Being in a schema."""

    postgresql = connection.vendor == "postgresql"

    def test_what_is_sent_in_a_schema_stays_there(self, desk: Project) -> None:
        """Data and event; the tenant is in the headers."""
        write_in(desk, a="one", b="two")

        assert (notes(A), notes(B), count(Outbox)) == (["one"], ["two"], [1, 1, 0])

    def test_afterwards_one_is_where_one_was(self, desk: Project) -> None:
        """After an error, nested, and whatever became of the transaction."""
        before = path()
        with in_schema(A):
            outer = path()
            with in_schema(B):
                pass
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                Note.objects.create(text="gone")
                raise ZeroDivisionError
            assert path() == outer
        with pytest.raises(ZeroDivisionError), transaction.atomic(), in_schema(A):
            raise ZeroDivisionError
        with pytest.raises(ProgrammingError), transaction.atomic(), in_schema(A), connection.cursor() as cursor:
            cursor.execute("SELEKT")

        assert (path(), outer.startswith('"tenant a", ')) == (before, True)

    def test_a_new_connection_is_in_the_same_schema(self, desk: Project) -> None:
        """A handler may close its own, and a server may."""
        with in_schema(A):
            connection.close()
            Note.objects.create(text="after")
        connection.close()

        assert (notes(A), Note.objects.count()) == (["after"], 0)

    def test_a_schema_that_is_not_there_is_refused(self, desk: Project) -> None:
        """PostgreSQL would pass over it, and write into the next one."""
        before = path()
        with pytest.raises(NotConfigured, match="has no schema 'nobody'"), in_schema("nobody"):
            pass
        with pytest.raises(NotConfigured, match="no name of a schema"), in_schema(""):
            pass

        assert path() == before

    def test_threads_that_work_for_this_one_are_in_its_schema(self, desk: Project, settings: Any) -> None:
        """As handlers after the commit are, side by side, on connections of their own."""
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "EVENT_WORKERS": 2}
        for number in range(2):
            desk.registry.add(
                Noticed,
                lambda event, *, number=number: Note.objects.create(text=f"{number}") and None,
                after_commit=True,
            )
        with in_schema(B), transaction.atomic():
            desk.bus.publish(Noticed("b"))

        assert (notes(A), sorted(notes(B)), Note.objects.count()) == ([], ["0", "1"], 0)

    def test_messages_name_their_tenant_whoever_chose_it(self, desk: Project) -> None:
        """Unless they say another one; as with a middleware that knows connections, and not us."""
        with in_schema(A), context(tenant="acme"):
            desk.bus.send(Write("said"))
        with ask_in(B):
            desk.bus.send(Write("unsaid"))
        found = []
        for schema in BOTH:
            with in_schema(schema):
                found += Outbox.objects.values_list("headers", flat=True)

        assert [json.loads(headers) for headers in found] == [{"tenant": "acme"}, {"tenant": B}]

    def test_requests_have_their_schema_as_their_tenant(self, desk: Project) -> None:
        """Whoever has chosen it; without the setting TENANT."""

        def view(request: HttpRequest) -> HttpResponse:
            with ask_in(B):
                return HttpResponse(str(desk.bus.send(Whose())))

        desk.registry.add(Whose, lambda query: current().headers.get("tenant"))

        assert acting(view)(RequestFactory().get("/")).content == B.encode()

    def test_an_idempotency_key_is_a_tenants_own(self, desk: Project) -> None:
        """Neither an answer nor a lock of one is another's."""
        with in_schema(A), transaction.atomic():
            desk.bus.send(Write("one"), idempotency_key="k")

            def other() -> int:
                with in_schema(B):
                    return desk.bus.send(Write("two"), idempotency_key="k", concurrent="raise")

            in_thread(other)

        assert (notes(A), notes(B)) == (["one"], ["two"])


@pytest.mark.needs("postgresql")
class TestRelaysAndConsumers:
    """What works for all tenants."""

    postgresql = connection.vendor == "postgresql"

    def test_one_relay_and_one_consumer_serve_all_tenants(self, desk: Project) -> None:
        """Each handler runs in the schema of its event, and what it writes is there."""
        write_in(desk, a="one", b="two")
        desk.ship()
        shipped = count(Inbox)
        desk.work()

        assert (shipped, count(Inbox), count(Outbox)) == ([1, 1, 0], [0, 0, 0], [0, 0, 0])
        assert (notes(A), notes(B)) == (["one", f"{A} one"], ["two", f"{B} two"])

    def test_one_tenant_may_be_worked_alone(self, desk: Project) -> None:
        """By name, or because one is in its schema."""
        write_in(desk, a="one", b="two")
        consumers()
        run(relays(schemas=[A]), drain=True)
        only_a = count(Outbox)
        with in_schema(B):
            run(relays(), drain=True)

        assert (only_a, count(Outbox)) == ([0, 1, 0], [0, 0, 0])

    def test_relays_of_two_tenants_do_not_exclude_each_other(self, desk: Project) -> None:
        """All lanes of one are held, and the other is shipped; a second relay of the same one gets none."""
        write_in(desk, a="one", b="two")
        consumers()

        def others() -> list[int]:
            run(relays(routes=["database"], databases=["default"]), drain=True)
            return count(Outbox)

        with in_schema(A):
            storage = DjangoStorage("outbox", "default")
            with storage.hold("database", lanes=range(16), limit=16, local=True, idle=15.0) as held:
                assert held is not None
                left = in_thread(others)

        assert left == [1, 0, 0]

    def test_locks_are_the_tables_whoever_finds_it_by_whatever_path(self, desk: Project) -> None:
        """Else two relays would work on one table."""
        place = DjangoStorage("outbox", "default").place("database")

        def taken() -> int:
            with connection.cursor() as cursor:
                cursor.execute(f"SET search_path TO {quoted(A)}, public")
            with dialect("default").holding(place, [3], limit=1, local=True, idle=9.0) as lanes:
                return len(lanes)

        with in_schema(A), dialect("default").holding(place, [3], limit=1, local=True, idle=9.0) as lanes:
            same = in_thread(taken)
        with dialect("default").holding(place, [3], limit=1, local=True, idle=9.0) as public:
            other = in_thread(taken)

        assert (len(lanes), same, len(public), other) == (1, 0, 1, 1)

    def test_marks_of_lanes_are_in_the_schema_of_their_lane(self, desk: Project) -> None:
        """They are written through another connection."""
        write_in(desk, a="one", b="two")
        desk.ship()
        desk.work()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM public.cqrs_lane_mark WHERE queue = 'mailing'")
            homeless = cursor.fetchone()

        assert homeless == (0,)

    def test_scheduled_and_deferred_ones_are_each_tenants_own(self, desk: Project) -> None:
        """Promoted and handled where they were stored."""
        from datetime import timedelta

        with in_schema(B), transaction.atomic():
            desk.bus.defer(Write("later"), due=timedelta(0))
        kept = count(Scheduled)
        run(promoters(), drain=True)
        promoted = count(Inbox)
        run(consumers(DEFERRED), drain=True)

        assert (kept, promoted) == ([0, 1, 0], [0, 1, 0])
        assert (notes(A), notes(B)) == ([], ["later"])

    def test_sagas_are_each_tenants_own(self, desk: Project) -> None:
        """Begun, run, left by a process that died, and taken over."""
        trip = Saga(
            "trip",
            Trip,
            [Step("note", act=lambda state: Note.objects.create(text=state.who) and None)],
            registry=desk.registry,
        )
        with in_schema(A):
            trip.start(desk.bus, Trip("begun"))
        with in_schema(B):
            trip.start(desk.bus, Trip("left"))
            Inbox.objects.all().delete()
            SagaRow.objects.update(due_at=Now())
        run(consumers("sagas"), drain=True)

        assert (notes(A), notes(B), count(SagaRow)) == (["begun"], ["left"], [1, 1, 0])

    def test_ticks_serve_all_tenants(self, desk: Project) -> None:
        """Those of Celery."""
        write_in(desk, a="one", b="two")
        consumers()
        ticks.relay()
        ticks.consume("mailing")
        ticks.recover_sagas()
        ticks.purge(seconds=1)

        assert (len(notes(A)), len(notes(B))) == (2, 2)

    def test_hundreds_of_idle_tenants_cost_a_few_statements(
        self, desk: Project, settings: Any, django_assert_num_queries: Any
    ) -> None:
        """Which there are, and one probe for fifty of them."""
        [rounds] = relays(routes=["database"], databases=["default"])
        rounds.names = lambda: [A] * 150
        rounds._known, rounds._refresh_at = [A] * 150, float("inf")

        with django_assert_num_queries(3):
            assert rounds.step() == 0

    def test_a_tenant_with_trouble_delays_no_other(self, desk: Project, caplog: pytest.LogCaptureFixture) -> None:
        """It pauses for itself, and says so."""
        write_in(desk, a="one", b="two")
        consumers()
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {quoted(A)}.cqrs_subscription RENAME COLUMN topic TO hidden")
        try:
            run(relays(routes=["database"], databases=["default"]), drain=True)
        finally:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE {quoted(A)}.cqrs_subscription RENAME COLUMN hidden TO topic")

        assert count(Outbox)[1] == 0
        assert f"relay database in {A}: " in caplog.text

    def test_a_tenant_that_goes_while_it_waits_for_its_turn_ends_no_worker(
        self, desk: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Others go on, and what was held for it is gone as well."""
        write_in(desk, a="one", b="two")
        [rounds] = relays(routes=["database"], databases=["default"])
        consumers()
        rounds._refresh(0.0)
        rounds._refresh_at = rounds._look_at = float("inf")  # nobody looks again
        rounds._waiting.extend(BOTH)
        rounds._job(B)
        rename = "ALTER SCHEMA {} RENAME TO {}".format

        with connection.cursor() as cursor:
            cursor.execute(rename(quoted(A), "moved"))
            try:
                shipped = rounds.step()
                rounds._job(A)
                rounds.close()
            finally:
                cursor.execute(rename("moved", quoted(A)))

        assert (shipped, count(Outbox)) == (1, [1, 0, 0])
        assert f"no tables in {A}" in caplog.text

    def test_a_tenant_without_tables_is_told_once(
        self, desk: Project, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And works nothing that belongs to another schema of the path."""
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SCHEMAS": [A, "nobody", B]}
        write_in(desk, a="one", b="two")
        consumers()
        caplog.clear()
        run(relays(routes=["database"], databases=["default"]), drain=True)

        assert count(Outbox) == [0, 0, 0]
        assert caplog.text.count("no tables in nobody") == 1


class Wire:
    """A broker that keeps what it is given."""

    promise = "memory"
    sent: ClassVar[list[Envelope]] = []

    def publish(self, envelopes: Any, /, *, deadline: float) -> Any:
        """Keep them."""
        Wire.sent += envelopes
        return [ACCEPTED] * len(envelopes)

    def ping(self, *, deadline: float) -> None:
        """Answer."""

    def feeds(self, consumer: str, topics: Any, /) -> Any:
        """Return one."""
        return [WireFeed()]


class WireFeed:
    """What was sent, once."""

    name = "wire"

    def fetch(self, limit: int, /) -> list[Delivery]:
        """Return what is left."""
        return [Delivery(str(envelope.id), envelope) for envelope in Wire.sent[:limit]]

    def acknowledge(self, deliveries: Any, /) -> None:
        """Drop them."""
        del Wire.sent[: len(deliveries)]


@pytest.fixture
def wired(desk: Project, settings: Any) -> Project:
    """Return the same project with a broker of its own."""
    wire = {"BACKEND": f"{__name__}.Wire"}
    settings.DJANGO_CQRS = {
        **settings.DJANGO_CQRS, "BROKERS": {"wire": wire}, "ROUTES": {"*": ["wire"]},
        "CONSUMERS": {"mailing": {"broker": "wire"}},
    }  # fmt: skip
    return desk


@pytest.mark.needs("postgresql")
class TestBrokers:
    """What leaves the database, and comes back."""

    postgresql = connection.vendor == "postgresql"

    def test_events_go_through_a_broker_into_the_schema_of_their_tenant(self, wired: Project) -> None:
        """The relay says whose they are, and the fetcher goes by that."""
        write_in(wired, a="one", b="two")
        run(relays(), drain=True)
        said = sorted(envelope.headers["tenant"] for envelope in Wire.sent)
        run(consumers("mailing"), drain=True)

        assert said == sorted(BOTH)
        assert (notes(A), notes(B)) == (["one", f"{A} one"], ["two", f"{B} two"])

    def test_what_belongs_to_no_schema_is_dead_until_there_is_one(self, wired: Project, settings: Any) -> None:
        """It is kept where new connections are; what belongs to others is not held up."""
        write_in(wired, a="one", b="two")
        run(relays(), drain=True)
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SCHEMAS": [A]}
        run(consumers("mailing"), drain=True)
        [dead] = Dead.objects.all()
        early = DjangoInspection("default").retry(dead.pk)
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SCHEMAS": [A, B]}
        late = DjangoInspection("default").retry(dead.pk)
        run(consumers("mailing"), drain=True)

        assert dead.reason.startswith("there is no schema for its tenant")
        assert (early, late, Dead.objects.count()) == (False, True, 0)
        assert (notes(A), notes(B)) == (["one", f"{A} one"], ["two", f"{B} two"])

    def test_a_project_may_find_the_schema_itself(self, wired: Project, settings: Any) -> None:
        """By anything in an envelope."""
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SCHEMA_OF": f"{__name__}.always_b"}
        consumers()
        with in_schema(A):
            wired.bus.send(Write("one"))
        run(relays(), drain=True)
        run(consumers("mailing"), drain=True)

        assert (notes(A), notes(B)) == (["one"], [f"{A} one"])


def always_b(envelope: Envelope) -> str:
    """Return the same schema for all."""
    return B


@pytest.mark.needs("postgresql")
class TestTests:
    """What a project's own tests do."""

    postgresql = connection.vendor == "postgresql"

    @pytest.mark.django_db(databases=["default"])
    def test_a_story_is_told_in_a_schema(self, schemas: None, project: Project, settings: Any) -> None:
        """Inside of a TestCase, where nothing is committed."""
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "SCHEMAS": list(BOTH)}
        project.registry.add(Write, lambda command, publish: publish(Written(command.text)) or 1)
        project.consume(Written, consumer="mailing")
        with in_schema(A):
            project.bus.send(Write("one"))
            run_all()

        assert project.seen == ["mailing one"]


@pytest.mark.needs("postgresql")
class TestWaking:
    """Who is told of a commit."""

    postgresql = connection.vendor == "postgresql"

    def test_a_listener_tells_in_which_schema_there_is_work(self, desk: Project) -> None:
        """So that no other one is looked at."""
        bells = Bells(Stop())
        [rounds] = relays(routes=["database"], databases=["default"])
        bells.bell(rounds)
        listener = Listener("default", bells)
        listener.start()
        processes.until(lambda: None in rounds.rung)  # which is what it says when it begins
        rounds.rung.clear()
        with in_schema(B):
            desk.bus.send(Write("two"))
        processes.until(lambda: bool(rounds.rung))
        rung = set(rounds.rung)
        listener.close()

        assert rung == {B}

    def test_two_tenants_that_commit_at_the_same_moment_are_both_told_of(self, desk: Project) -> None:
        """What was said of one says nothing of the other."""
        bells = Bells(Stop())
        [rounds] = relays(routes=["database"], databases=["default"])
        bells.bell(rounds)
        listener = Listener("default", bells)
        listener.start()
        processes.until(lambda: None in rounds.rung)  # which is what it says when it begins
        rounds.rung.clear()
        write_in(desk, a="one", b="two")
        processes.until(lambda: set(rounds.rung) == set(BOTH))
        listener.close()

        assert isinstance(rounds, Rounds)


class Trimming(Wire):
    """A broker that keeps what was acknowledged."""

    asked: ClassVar[list[str]] = []

    def trim(
        self, topic: str, consumers: Sequence[str], /, *, keep: float, limit: int = 1, dry_run: bool = False
    ) -> Trimmed:
        """Note who is asked for."""
        self.asked[:] = consumers
        return Trimmed(0)


@pytest.mark.needs("postgresql")
class TestCommands:
    """What an operator does."""

    postgresql = connection.vendor == "postgresql"

    def test_relay_and_consumers_take_schemas(self, desk: Project) -> None:
        """One, or several."""
        write_in(desk, a="one", b="two")
        consumers()
        call_command("cqrs_relay", drain=True, consume=True, schema=[A])
        first = (len(notes(A)), len(notes(B)))
        call_command("cqrs_relay", drain=True)
        call_command("cqrs_consume", drain=True, schema=[A, B])

        assert (first, len(notes(B))) == ((2, 1), 2)

    def test_the_status_tells_of_each_tenant_that_has_anything(self, desk: Project, capsys: Any) -> None:
        """By one statement which those are."""
        with in_schema(B):
            desk.bus.send(Write("two"))
        call_command("cqrs_status")

        said = capsys.readouterr().out
        assert f"default/{B}" in said
        assert f"default/{A}" not in said

    def test_dead_letters_are_listed_retried_and_skipped_where_they_are(self, desk: Project, capsys: Any) -> None:
        """Each number belongs to a schema."""
        with in_schema(B):
            fields = {"payload": b"x", "version": 1, "message_id": None, "causation_id": None, "traceparent": None}
            texts = dict.fromkeys(("topic", "key", "kind", "source", "correlation_id", "content_type"), "")
            dead = Dead.objects.create(
                box="inbox", queue="mailing", name="desk.x", lane=0, attempts=1, reason="lost", holds=False,
                headers="{}", **fields, **texts,
            )  # fmt: skip
        call_command("cqrs_dead", "list")
        said = capsys.readouterr().out
        call_command("cqrs_dead", "skip", str(dead.pk), schema=B)

        assert f"default/{B}" in said
        assert "lost" in said
        assert count(Dead) == [0, 0, 0]

    def test_a_stream_is_trimmed_as_far_as_the_consumers_of_all_tenants_are(self, desk: Project, settings: Any) -> None:
        """It is one stream, whoever has subscribed."""
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "BROKERS": {"wire": {"BACKEND": f"{__name__}.Trimming"}}}
        for schema, consumer in ((A, "one"), (A, "two"), (B, "two"), (B, "three")):
            with in_schema(schema):
                Subscription.objects.create(broker="wire", consumer=consumer, topic="written", lanes=1)

        streams = list(trim(seconds=1, days=1))

        assert [(stream.broker, stream.topic) for stream in streams] == [("wire", "written")]
        assert sorted(Trimming.asked) == ["one", "three", "two"]

    def test_each_tenant_is_refused_for_what_waits_in_its_own_outbox(self, desk: Project, settings: Any) -> None:
        """MAX_PENDING of one is no matter of another."""
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "MAX_PENDING": {"database": {"refuse": 2}}}
        with in_schema(A), transaction.atomic():
            for _ in range(3):
                desk.bus.publish(Written("a"))
        pressure._gauges.clear()  # a second later

        with in_schema(A), pytest.raises(OutboxFull):
            desk.bus.send(Write("a"))
        with in_schema(B):
            assert desk.bus.send(Write("b"))

    def test_a_purge_goes_through_all_tenants(self, desk: Project, capsys: Any) -> None:
        """And says so of each."""
        call_command("cqrs_purge", "seen")

        said = capsys.readouterr().out
        assert [f"default/{schema}" in said for schema in BOTH] == [True, True]

    def test_each_tenant_has_its_history_and_may_send_and_read_it_once_more(
        self, desk: Project, settings: Any, capsys: Any
    ) -> None:
        """Of all, or of one; what one forgets the others remember."""
        settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, "KEEP_HISTORY": "1h"}
        write_in(desk, a="one", b="two")
        call_command("cqrs_relay", "--drain", "--consume")
        kept = count(History)

        call_command("cqrs_resend", "--route", "database", "--since", "1h", "--schema", B, "--yes")
        resent = count(Outbox)
        call_command("cqrs_relay", "--drain", "--consume")
        call_command("cqrs_consume", "mailing", "--reset", "--schema", A, "--yes")
        call_command("cqrs_relay", "--drain", "--consume")

        said = capsys.readouterr().out
        assert (kept, resent, count(History)) == ([1, 1, 0], [0, 1, 0], [1, 1, 0])
        assert f"default/{B}: 1 events wait in the outbox for database once more" in said
        assert f"default/{A}: mailing has forgotten the ids of 1 messages" in said
        assert (notes(A), notes(B)) == (["one", f"{A} one", f"{A} one"], ["two", f"{B} two"])

    def test_what_a_release_lacks_is_found_in_all_tenants(self, desk: Project) -> None:
        """And whose it is."""
        with in_schema(B), transaction.atomic():
            desk.bus.defer(Write("later"))
            Inbox.objects.update(name="desk.Unknown")
        report = preflight(desk.bus, most=100, samples=1)

        assert {problem.database for problem in report.problems} == {f"default/{B}"}

    def test_a_handler_that_was_taken_out_is_missed_in_each_tenant(self, desk: Project) -> None:
        """What was handled before is written down in their schemas."""
        write_in(desk, a="one", b="two")
        desk.ship()
        without = Project()
        without.registry.add(Write, lambda command: 0)
        report = preflight(without.bus, most=100, samples=1)
        call_command("cqrs_preflight", "--newest")

        found = [(problem.kind, problem.database) for problem in report.problems]
        assert found == [("missing consumer", f"default/{schema}") for schema in BOTH]
        assert {note.database for note in report.notes} == {f"default/{schema}" for schema in BOTH}

    def test_metrics_are_of_all_tenants_together(self, desk: Project) -> None:
        """Hundreds of tenants would be hundreds of series."""
        write_in(desk, a="one", b="two")
        pending = next(measure for measure in MEASURES if measure.name == "pending_messages")
        samples = Reader().read()[pending]

        assert [s.value for s in samples if s.labels == ("default", "outbox", "database")] == [2]

    def test_a_tenants_page_tells_of_no_other(self, desk: Project) -> None:
        """Where somebody has chosen a schema, nobody looks into the others."""
        write_in(desk, a="one", b="two")
        with in_schema(A):
            seen = {queue.database for queue in read_status().queues}

        assert seen == {f"default/{A}"}

    def test_places_are_aliases_and_schemas(self, desk: Project, settings: Any) -> None:
        """Those that have our tables."""
        assert [str(place) for place in places_of(["default", "audit"])] == [
            f"default/{A}",
            f"default/{B}",
            "audit",
        ]
