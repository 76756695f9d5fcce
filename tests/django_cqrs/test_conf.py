"""The setting DJANGO_CQRS."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from django_cqrs.conf import read_settings, settings, table
from django_cqrs.entries import ConsumerSettings, Settings
from simplecqrs import Retry
from simplecqrs.errors import NotConfigured

BROKER = {"BACKEND": "simplecqrs.memory.MemoryBroker"}


def problems(**raw: Any) -> list[str]:
    """Return what is wrong with a setting."""
    return read_settings(raw)[1]


def test_nothing_needs_to_be_set() -> None:
    """The empty setting has a value for everything."""
    found, wrong = read_settings({})

    assert wrong == []
    assert found == Settings()
    assert found.brokers_for("anything") == ("database",)
    assert found.alias_for("anything") == "default"
    assert found.consumer("anything") == ConsumerSettings()


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"BROKER": {}}, "unknown key 'BROKER'; did you mean BROKERS?"),
        ({"source": "shop"}, "unknown key 'source'; did you mean SOURCE?"),
        ({"COLOUR": "red"}, "unknown key 'COLOUR'; known are ACTION_DAYS, ALIAS_GUARD, BROKERS, "),
        ({"BROKERS": {"a": {**BROKER, "OPTION": {}}}}, "BROKERS['a']: unknown key 'OPTION'; did you mean OPTIONS?"),
        ({"CONSUMERS": {"a": {"lane": 3}}}, "CONSUMERS['a']: unknown key 'lane'; did you mean lanes?"),
    ],
    ids=["misspelt", "lower case", "unknown", "of a broker", "of a consumer"],
)
def test_an_unknown_key_is_told_with_what_was_meant(raw: dict[str, Any], complaint: str) -> None:
    """Misspelt keys would be silently without effect."""
    [told] = problems(**raw)

    assert complaint in told


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"ROUTES": {"orders": ["events"]}}, "ROUTES['orders']: there is no broker 'events'"),
        ({"CONSUMERS": {"a": {"broker": "events"}}}, "CONSUMERS['a']: there is no broker 'events'"),
        ({"DATABASES": {"*": "nowhere"}}, "DATABASES['*']: there is no database alias 'nowhere'"),
        ({"BROKERS": {"database": BROKER}}, "the name 'database' is taken"),
        ({"CONSUMERS": {"deferred": {"lanes": 2}}}, "deferred commands have 16 lanes, no topics and no broker"),
        ({"CONSUMERS": {"a": {"apps": ["x"]}, "b": {"apps": ["x"]}}}, "the app 'x' belongs to 'a' already"),
    ],
    ids=["route", "broker", "alias", "database", "deferred", "apps"],
)
def test_what_contradicts_itself_is_told(raw: dict[str, Any], complaint: str) -> None:
    """Entries that name each other have to fit."""
    [told] = problems(**raw)

    assert complaint in told


@pytest.mark.parametrize(
    ("raw", "culprit"),
    [
        ({"BROKERS": ["events"]}, "BROKERS cannot be: it is a dict"),
        ({"BROKERS": {"a": "simplecqrs.memory.MemoryBroker"}}, "BROKERS['a'] needs a BACKEND"),
        ({"ROUTES": ["a"]}, "ROUTES=['a'] cannot be"),
        ({"ROUTES": {"a": 5}}, "ROUTES['a']"),
        ({"CONSUMERS": {"a": None}}, "CONSUMERS['a'] is a dict, not None"),
        ({"CONSUMERS": {"a": {"topics": "orders"}}}, "it is a list of strings, not 'orders'"),
        ({"CONSUMERS": {"a": {"apps": "orders"}}}, "it is a list of strings, not 'orders'"),
        ({"CONSUMERS": {"a": {"lanes": 257}}}, "CONSUMERS['a']: lanes=257 cannot be"),
        ({"CONSUMERS": {"a": {"lanes": 0}}}, "CONSUMERS['a']: lanes=0 cannot be"),
        (
            {"CONSUMERS": {"a": {"engine": "threads"}}},
            "an engine is one of daemon, celery, django-tasks, or the dotted path",
        ),
        ({"CONSUMERS": {"a": {"retry": 3}}}, "CONSUMERS['a']: retry=3 cannot be"),
        ({"CONSUMERS": {"a": {"on_dead": "stop"}}}, "CONSUMERS['a']: on_dead='stop' cannot be"),
        ({"MIDDLEWARES": "shop.timed"}, "MIDDLEWARES='shop.timed' cannot be: it is a list of strings"),
        ({"QUERY_GUARD": True}, "QUERY_GUARD=True cannot be"),
        ({"ALIAS_GUARD": "database"}, "ALIAS_GUARD='database' cannot be"),
        ({"RELAY_BATCH": "many"}, "RELAY_BATCH='many' cannot be"),
        ({"RELAY_TICK_SECONDS": 0}, "RELAY_TICK_SECONDS=0 cannot be"),
    ],
    ids=str,
)
def test_a_value_of_the_wrong_kind_is_told(raw: dict[str, Any], culprit: str) -> None:
    """It is told where it is, instead of failing somewhere else later."""
    [told] = problems(**raw)

    assert culprit in told


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Who corrects a setting wants one list, not one error after the other."""
    told = problems(SAUCE="shop", CONSUMERS={"a": {"lanes": 0, "broker": "x"}}, ROUTES={"b": ["y"]})

    assert len(told) == 4


def test_something_else_than_a_dict_is_told() -> None:
    """So is a list of pairs."""
    assert read_settings([("SOURCE", "shop")])[1] == ["DJANGO_CQRS is a dict, not [('SOURCE', 'shop')]"]


def test_the_most_specific_pattern_wins() -> None:
    """The name itself, else the pattern with most literal text, whatever their order."""
    found, wrong = read_settings(
        {
            "BROKERS": {"a": BROKER, "b": BROKER},
            "ROUTES": {"*": "database", "orders.*": ["a"], "orders.paid": ["a", "b"], "orders.p*": "b"},
            "DATABASES": {"audit.*": "audit", "*": "default"},
        }
    )

    assert wrong == []
    assert found.brokers_for("orders.paid") == ("a", "b")
    assert found.brokers_for("orders.placed") == ("b",)
    assert found.brokers_for("orders.cancelled") == ("a",)
    assert found.brokers_for("customers") == ("database",)
    assert found.alias_for("audit.Write") == "audit"
    assert found.alias_for("orders.Place") == "default"


def test_keys_of_consumers_may_be_in_capitals() -> None:
    """As the other keys are."""
    found, wrong = read_settings({"CONSUMERS": {"a": {"LANES": 4, "retry": Retry(2)}}})

    assert wrong == []
    assert (found.consumer("a").lanes, found.consumer("a").retry) == (4, Retry(2))


def test_wrong_settings_stop_whoever_asks_for_them() -> None:
    """With the whole list."""
    with override_settings(DJANGO_CQRS={"SAUCE": "shop", "ROUTES": {"a": ["x"]}}), pytest.raises(NotConfigured) as e:
        settings()

    assert len(e.value.problems) == 2
    assert "DJANGO_CQRS" in str(e.value)


def test_settings_are_read_anew_when_a_test_changes_them() -> None:
    """And are what they were afterwards."""
    before = settings().source
    with override_settings(DJANGO_CQRS={"SOURCE": "elsewhere"}):
        assert settings().source == "elsewhere"

    assert settings().source == before


def test_tables_bear_the_projects_prefix() -> None:
    """Computed alike for models and migrations."""
    assert table("outbox") == "cqrs_outbox"
    with override_settings(DJANGO_CQRS={"TABLE_PREFIX": "shop_"}):
        assert table("outbox") == "shop_outbox"
