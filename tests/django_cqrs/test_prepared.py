"""What a consumer asks for each message is planned once by PostgreSQL, not each time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Any

import pytest
from django.db import Error, connection, connections
from django.test.utils import CaptureQueriesContext

from django_cqrs import bus
from django_cqrs.consumers import consumers
from django_cqrs.databases import prepared
from django_cqrs.loops import run
from tests.desk.messages import Remind
from tests.desk.models import Note


@pytest.fixture
def sessions() -> Generator[None, None, None]:
    """Begin and end with a new connection, of which nothing bad is known."""
    connection.close()
    prepared._forgetful.clear()
    yield
    connection.close()
    prepared._forgetful.clear()


def ask(sql: str, *parameters: Any) -> Any:
    """Execute a statement in the way that is tried here, and return its answer."""
    return prepared.execute(connection, sql, parameters).fetchall()


def known() -> list[tuple[str, str]]:
    """Return name and text of what is prepared on the connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, statement FROM pg_prepared_statements ORDER BY prepare_time")
        found: list[tuple[str, str]] = cursor.fetchall()
        return found


def _forgetting_after(connection: Any) -> Callable[..., Any]:
    """Return an execute_wrapper that makes the server forget before each statement that was prepared before."""

    def losing(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("EXECUTE"):
            connection.connection.pgconn.exec_(b"DEALLOCATE ALL")
        return execute(sql, *rest)

    return losing


@pytest.mark.needs("postgresql")
@pytest.mark.usefixtures("committed", "sessions")
class TestPrepared:
    """What is prepared on a connection."""

    postgresql = connection.vendor == "postgresql"

    def test_a_statement_that_comes_again_at_once_is_prepared(self) -> None:
        """Numbers may differ, lists of them in length as well; the answers are those of the plain statement."""
        found = [
            ask("SELECT %s::text, %s + 1, (SELECT sum(n) FROM unnest(%s::bigint[]) u(n))", "it's 100%", number, numbers)
            for number, numbers in ((1, [1]), (2, [1, 2]), (2**40, [-1, 2**40]))
        ]

        assert found == [[("it's 100%", 2, 1)], [("it's 100%", 3, 3)], [("it's 100%", 2**40 + 1, 2**40 - 1)]]
        [(_, text)] = known()
        assert "'it''s 100%'" in text

    def test_other_texts_make_another_statement(self) -> None:
        """They are part of what is prepared."""
        assert [ask("SELECT %s::text, %s", text, 1) for text in "aabb"] == [[(text, 1)] for text in "aabb"]
        assert len(known()) == 2

    def test_a_statement_that_comes_once_in_a_while_is_not_prepared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It would cost an idle loop two statements in place of one."""
        monkeypatch.setattr(prepared, "OFTEN", 0.0)

        assert [ask("SELECT %s", number) for number in range(3)] == [[(number,)] for number in range(3)]
        assert known() == []

    def test_a_plan_is_made_anew_while_its_statement_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One for an empty table is the wrong one for a full table; there is never more than one of a statement."""
        for number in range(2):
            ask("SELECT %s", number)
        with connection.cursor() as cursor:
            cursor.execute("SELECT prepare_time FROM pg_prepared_statements")
            before = cursor.fetchall()
            monkeypatch.setattr(prepared, "FRESH", 0.0)
            ask("SELECT %s", 3)
            cursor.execute("SELECT prepare_time FROM pg_prepared_statements")
            after = cursor.fetchall()

        assert len(before) == len(after) == 1
        assert after > before

    def test_a_plan_follows_the_tenants_schema(self) -> None:
        """It reads the table that a name means now."""
        with connection.cursor() as cursor:
            for schema, number in (("prepared_a", 1), ("prepared_b", 2)):
                cursor.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.things AS SELECT {number}::bigint AS n")
            try:
                found = []
                for schema in ("prepared_a", "prepared_b") * 8:  # the server keeps one plan after the fifth time
                    cursor.execute(f"SET search_path = {schema}")
                    found += ask("SELECT n FROM things WHERE n > %s", 0)
            finally:
                cursor.execute("RESET search_path; DROP SCHEMA prepared_a CASCADE; DROP SCHEMA prepared_b CASCADE")

        assert found == [(1,), (2,)] * 8

    @pytest.mark.parametrize("said", ["DISABLE_SERVER_SIDE_CURSORS", "LISTEN_ALIAS"])
    def test_nothing_is_prepared_where_a_pooler_is_known_of(
        self, said: str, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Django has a setting for this, and who listens past a pooler has one."""
        if said == "LISTEN_ALIAS":
            settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, said: {"default": "audit"}}
        else:
            monkeypatch.setitem(connections["default"].settings_dict, said, True)

        assert [ask("SELECT %s", number) for number in range(3)] == [[(number,)] for number in range(3)]
        assert known() == []

    def test_where_prepared_statements_get_lost_all_goes_on_without(self, caplog: pytest.LogCaptureFixture) -> None:
        """As behind a pooler that lends connections for single transactions: it is said once, and nothing is lost."""
        [worker] = consumers("deferred", databases=["default"])
        losing = _forgetting_after(connection)
        with caplog.at_level(logging.WARNING), connection.execute_wrapper(losing):
            for number in range(6):
                bus.defer(Remind(number, "later"))
                while Note.objects.count() <= number:
                    run([worker], seconds=0.1)

        told = [record.getMessage() for record in caplog.records if "what was prepared is gone" in record.getMessage()]
        assert Note.objects.count() == 6
        assert len(told) == 1
        assert "DISABLE_SERVER_SIDE_CURSORS" in told[0]

    def test_one_cursor_is_kept_as_long_as_its_connection(self) -> None:
        """Whoever wants to know what is executed is told of all."""
        cursors = [prepared.execute(connection, "SELECT %s", [1]) for _ in range(2)]
        with CaptureQueriesContext(connection) as noted:
            ask("SELECT %s", 2)
        connection.close()
        after = prepared.execute(connection, "SELECT %s", [3])

        assert cursors[0] is cursors[1]
        assert after is not cursors[0]
        assert [query["sql"][:7] for query in noted.captured_queries] == ["EXECUTE"]
        assert after.fetchall() == [(3,)]

    def test_another_error_is_the_databases_own(self) -> None:
        """It is raised as it is, and more is prepared afterwards."""
        ask("SELECT 1 / %s", 1)
        for _ in range(2):
            with pytest.raises(Error, match="division by zero"):
                ask("SELECT 1 / %s", 0)

        assert ask("SELECT 1 / %s", 1) == [(1,)]
        assert len(known()) == 1
