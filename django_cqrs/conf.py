"""The setting ``DJANGO_CQRS``, read once and typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import filter as filter_names
from functools import cache
from typing import Any

from attrs import Attribute, fields
from django.conf import settings as django_settings
from django.core.signals import setting_changed

from django_cqrs.entries import BrokerSettings, ConsumerSettings, Settings
from django_cqrs.entry_fields import list_of_names
from simplecqrs.errors import NotConfigured
from simplecqrs.queue import DATABASE, DEFERRED, LANES, SAGAS

__all__ = ["read_settings", "settings", "table"]


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
    values["brokers"] = _brokers(values.get("brokers", {}), problems)
    values["consumers"] = _consumers(values.get("consumers", {}), problems)
    values["routes"] = _routes(values.get("routes", {}), problems)
    found = Settings(**values)
    return found, problems + _contradictions(found)


def _brokers(raw: Mapping[str, Any], problems: list[str]) -> dict[str, BrokerSettings]:
    found = {}
    for name, entry in raw.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("BACKEND"), str):
            problems.append(f"BROKERS[{name!r}] needs a BACKEND: the dotted path of a broker's class")
            continue
        found[name] = BrokerSettings(**_known(BrokerSettings, entry, f"BROKERS[{name!r}]", problems))
    return found


def _consumers(raw: Mapping[str, Any], problems: list[str]) -> dict[str, ConsumerSettings]:
    found = {}
    for name, entry in raw.items():
        where = f"CONSUMERS[{name!r}]"
        if not isinstance(entry, Mapping):
            problems.append(f"{where} is a dict, not {entry!r}")
            continue
        lowered = {str(key).lower(): value for key, value in entry.items()}
        found[name] = ConsumerSettings(**_known(ConsumerSettings, lowered, where, problems, spelt=str.lower))
    return found


def _routes(raw: Mapping[str, Any], problems: list[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for pattern, names in raw.items():
        try:
            found[pattern] = (names,) if isinstance(names, str) else list_of_names(names)
        except TypeError as error:
            problems.append(f"ROUTES[{pattern!r}]: {error}")
    return found


def _known(
    kind: type[Any],
    raw: Mapping[str, Any],
    where: str,
    problems: list[str],
    *,
    spelt: Callable[[str], str] = str.upper,
) -> dict[str, Any]:
    """Return the entries that a settings class knows and accepts, by its field names; complain of the others."""
    known = {spelt(f.name): f for f in fields(kind)}
    values = {}
    for key, value in raw.items():
        if key not in known:
            close = get_close_matches(spelt(str(key)), known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}"
            problems.append(f"{where}: unknown key {key!r}; {hint}")
            continue
        try:
            values[known[key].name] = _accepted(known[key], value)
        except (TypeError, ValueError) as error:
            shown = "" if known[key].metadata.get("secret") else f"={value!r}"
            problems.append(f"{where}: {key}{shown} cannot be: {error.args[0]}")
    return values


def _accepted(entry: Attribute[Any], value: Any) -> Any:
    convert: Any = entry.converter
    converted = convert(value) if convert is not None else value
    if entry.validator is not None:
        entry.validator(None, entry, converted)
    return converted


def _contradictions(found: Settings) -> list[str]:
    known = {DATABASE, *found.brokers}
    problems = [
        *(f"ROUTES[{pattern!r}]: there is no broker {name!r}"
          for pattern, names in found.routes.items() for name in names if name not in known),
        *(f"MAX_PENDING[{pattern!r}]: there is no broker of that name"
          for pattern in found.max_pending if not filter_names(known, pattern)),
        *(f"DATABASES[{pattern!r}]: there is no database alias {alias!r}"
          for pattern, alias in found.databases.items() if alias not in django_settings.DATABASES),
        *(f"DISK_BYTES: there is no database alias {alias!r}"
          for alias in found.disk_bytes if alias not in django_settings.DATABASES),
        *(f"LISTEN_ALIAS: there is no database alias {name!r}"
          for pair in found.listen_alias.items() for alias, name in [pair, pair[::-1]]
          if name not in django_settings.DATABASES),
        *(f"CONSUMERS[{name!r}]: there is no broker {consumer.broker!r}"
          for name, consumer in found.consumers.items() if consumer.broker not in known),
        *_unsignable(found),
    ]  # fmt: skip
    if found.relay_retry.inline:
        problems.append("RELAY_RETRY: inline= is for consumers; what a broker refuses it would refuse a moment later")
    if DATABASE in found.brokers:
        problems.append(f"BROKERS: the name {DATABASE!r} is taken: the database itself is the broker of that name")
    deferred = found.consumer(DEFERRED)
    if deferred.lanes != LANES or deferred.topics or deferred.broker != DATABASE:
        problems.append(f"CONSUMERS[{DEFERRED!r}]: deferred commands have {LANES} lanes, no topics and no broker")
    if found.consumer(SAGAS).lanes != LANES:
        problems.append(f"CONSUMERS[{SAGAS!r}]: the consumer of sagas has {LANES} lanes")
    owners: dict[str, str] = {}
    for name, app in ((name, app) for name, consumer in found.consumers.items() for app in consumer.apps):
        if owners.setdefault(app, name) != name:
            problems.append(f"CONSUMERS[{name!r}]: the app {app!r} belongs to {owners[app]!r} already")
    return problems


def _unsignable(found: Settings) -> Iterator[str]:
    """Complain of consumers to which nothing could ever come in."""
    for name, consumer in found.consumers.items():
        where = f"CONSUMERS[{name!r}]: signed=True"
        if consumer.signed and found.signature_keys is None:
            yield f"{where} needs keys: SIGNATURE_KEYS"
        if consumer.signed and consumer.broker == DATABASE:
            yield f"{where} is about what comes from a broker, and {DATABASE!r} is this project itself; leave it out"


def table(name: str) -> str:
    """Return the name of one of our tables, with the project's prefix; models and migrations ask here."""
    raw = getattr(django_settings, "DJANGO_CQRS", {})
    prefix = raw.get("TABLE_PREFIX", "cqrs_") if isinstance(raw, Mapping) else "cqrs_"
    return f"{prefix}{name}"


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DJANGO_CQRS":
        _settings.cache_clear()


setting_changed.connect(_forget)
