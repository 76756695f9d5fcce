"""The setting ``DJANGO_CQRS``, read once and typed."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal

from attrs import field, fields, frozen
from django.conf import settings as django_settings
from django.core.signals import setting_changed

from simplecqrs.backoff import Retry
from simplecqrs.errors import NotConfigured
from simplecqrs.queue import DATABASE, DEFERRED, LANES
from simplecqrs.registry import OnDead

__all__ = [
    "BrokerSettings",
    "ConsumerSettings",
    "Guard",
    "Settings",
    "most_specific",
    "read_settings",
    "settings",
    "table",
]

Guard = Literal["raise", "log", "off", "database"]
MOST_LANES = 256


@frozen(kw_only=True)
class BrokerSettings:
    """One entry of BROKERS: the dotted path of a class, and what it is called with."""

    backend: str
    options: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class ConsumerSettings:
    """
    One entry of CONSUMERS.

    Args:
        topics: what it subscribes to; None: the topics of the events that it has handlers for.
        broker: where they come from.
        engine: what starts its workers: ``daemon`` or ``celery``.
        lanes: how many messages can be worked at a time; changed only while its inbox is empty.
        timeout: seconds that a handler may do nothing at the database.
        apps: integration events' handlers in these apps belong to it if they say nothing else.
        retry: attempts and pauses of its handlers that say nothing else.
        on_dead: what a dead letter does to the followers of its key.
        strict: a message without a handler is a dead letter.
    """

    topics: tuple[str, ...] | None = field(
        default=None, converter=lambda value: None if value is None else tuple(value)
    )
    broker: str = DATABASE
    engine: Literal["daemon", "celery"] = "daemon"
    lanes: int = LANES
    timeout: float = 300.0
    apps: tuple[str, ...] = field(default=(), converter=tuple)
    retry: Retry = field(factory=Retry)
    on_dead: OnDead = "hold"
    strict: bool = False


@frozen(kw_only=True)
class Settings:
    """All of ``DJANGO_CQRS``; the keys are these names in capitals."""

    brokers: Mapping[str, BrokerSettings] = field(factory=dict)
    routes: Mapping[str, tuple[str, ...]] = field(factory=dict)
    consumers: Mapping[str, ConsumerSettings] = field(factory=dict)
    middlewares: tuple[str, ...] = field(default=(), converter=tuple)
    container: str | None = None
    databases: Mapping[str, str] = field(factory=dict)
    mediator: str = "django_cqrs.bus"
    source: str = ""
    query_guard: Guard = "raise"
    alias_guard: Guard = "raise"
    relay_tick_seconds: float = 5.0
    relay_batch: int = 1000
    relay_retry: Retry = field(factory=Retry)
    max_bytes: int = 1024 * 1024
    table_prefix: str = "cqrs_"

    def brokers_for(self, topic: str) -> tuple[str, ...]:
        """Return the brokers that events of a topic go to."""
        return most_specific(self.routes, topic, default=(DATABASE,))

    def alias_for(self, name: str) -> str:
        """Return the database alias of a message's transaction."""
        return most_specific(self.databases, name, default="default")

    def consumer(self, name: str) -> ConsumerSettings:
        """Return a consumer's settings; those of one that is not named are the defaults."""
        return self.consumers.get(name, ConsumerSettings())


def most_specific(patterns: Mapping[str, Any], name: str, *, default: Any) -> Any:
    """Return the value of the pattern that fits a name best: the name itself, else the one with most literal text."""
    fitting = [pattern for pattern in patterns if fnmatchcase(name, pattern)]
    if not fitting:
        return default
    return patterns[max(fitting, key=lambda pattern: (pattern == name, len(pattern.replace("*", ""))))]


def settings() -> Settings:
    """
    Return the project's settings.

    Raises:
        NotConfigured: with all that is wrong in them.
    """
    return _settings()


@cache
def _settings() -> Settings:
    found, problems = read_settings(getattr(django_settings, "DJANGO_CQRS", {}))
    if problems:
        raise NotConfigured("the setting DJANGO_CQRS cannot work:", problems)
    return found


def read_settings(raw: Any) -> tuple[Settings, list[str]]:
    """Return what could be read of a setting, and what is wrong with it."""
    if not isinstance(raw, Mapping):
        return Settings(), [f"DJANGO_CQRS is a dict, not {raw!r}"]
    problems: list[str] = []
    values = _known(Settings, raw, "DJANGO_CQRS", problems)
    values["brokers"] = {
        name: BrokerSettings(**_known(BrokerSettings, entry, f"BROKERS[{name!r}]", problems))
        for name, entry in values.get("brokers", {}).items()
        if _is_broker(name, entry, problems)
    }
    values["consumers"] = _consumers(values.get("consumers", {}), problems)
    values["routes"] = {
        pattern: (names,) if isinstance(names, str) else tuple(names)
        for pattern, names in values.get("routes", {}).items()
    }
    found = Settings(**values)
    return found, problems + _contradictions(found)


def _is_broker(name: str, entry: Any, problems: list[str]) -> bool:
    if isinstance(entry, Mapping) and isinstance(entry.get("BACKEND"), str):
        return True
    problems.append(f"BROKERS[{name!r}] needs a BACKEND: the dotted path of a broker's class")
    return False


def _consumers(raw: Any, problems: list[str]) -> dict[str, ConsumerSettings]:
    found = {}
    for name, entry in raw.items():
        values = _known(ConsumerSettings, {k.upper(): v for k, v in entry.items()}, f"CONSUMERS[{name!r}]", problems)
        if "topics" in values and isinstance(values["topics"], str):
            problems.append(f"CONSUMERS[{name!r}]: topics is a list, not {values.pop('topics')!r}")
        found[name] = ConsumerSettings(**values)
    return found


def _known(kind: type[Any], raw: Mapping[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    """Return the entries that a settings class knows, by its field names; complain of the others."""
    names = {f.name.upper(): f.name for f in fields(kind)}
    for key in raw:
        if key not in names:
            close = get_close_matches(key, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(names))}"
            problems.append(f"{where}: unknown key {key!r}{hint}")
    return {names[key]: value for key, value in raw.items() if key in names}


def _contradictions(found: Settings) -> list[str]:
    problems = []
    known = {DATABASE, *found.brokers}
    if DATABASE in found.brokers:
        problems.append(f"BROKERS: the name {DATABASE!r} is taken: the database itself is the broker of that name")
    for pattern, names in found.routes.items():
        problems += [f"ROUTES[{pattern!r}]: there is no broker {name!r}" for name in names if name not in known]
    for name, consumer in found.consumers.items():
        where = f"CONSUMERS[{name!r}]"
        if consumer.broker not in known:
            problems.append(f"{where}: there is no broker {consumer.broker!r}")
        if not isinstance(consumer.lanes, int) or not 1 <= consumer.lanes <= MOST_LANES:
            problems.append(f"{where}: lanes={consumer.lanes!r} must be 1 to {MOST_LANES}")
        if consumer.engine not in ("daemon", "celery"):
            problems.append(f"{where}: engine={consumer.engine!r} must be 'daemon' or 'celery'")
        if name == DEFERRED and (consumer.lanes != LANES or consumer.topics):
            problems.append(f"{where}: the consumer of deferred commands has {LANES} lanes and no topics")
    for key in ("query_guard", "alias_guard"):
        allowed = ("raise", "log", "off", "database") if key == "query_guard" else ("raise", "log", "off")
        if getattr(found, key) not in allowed:
            problems.append(f"{key.upper()}={getattr(found, key)!r} must be one of {', '.join(allowed)}")
    for pattern, alias in found.databases.items():
        if alias not in django_settings.DATABASES:
            problems.append(f"DATABASES[{pattern!r}]: there is no database alias {alias!r}")
    return problems


def table(name: str) -> str:
    """Return the name of one of our tables, with the project's prefix; models and migrations ask here."""
    raw = getattr(django_settings, "DJANGO_CQRS", {})
    prefix = raw.get("TABLE_PREFIX", "cqrs_") if isinstance(raw, Mapping) else "cqrs_"
    return f"{prefix}{name}"


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DJANGO_CQRS":
        _settings.cache_clear()


setting_changed.connect(_forget)
