"""System checks: what is wrong is said at start-up, with its cure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core import checks
from django.utils.module_loading import import_string

from django_cqrs import cdc, fitting
from django_cqrs.conf import read_settings
from django_cqrs.databases.checks import check_schemas, check_server, check_settings_of
from django_cqrs.entries import Settings
from django_cqrs.mediator import DjangoMediator
from django_cqrs.schemas import TENANTS
from simplecqrs.errors import CQRSError, NotConfigured
from simplecqrs.messages import Command, IntegrationEvent, Message, Query, Stream
from simplecqrs.queue import DATABASE, DEFERRED, SAGAS

__all__ = ["register_all"]

TAG = "cqrs"
#: Wire formats, by name or class, whose readers are not ours.
OF_OTHERS = {"python-cqrs", "PythonCQRS", "diator", "Diator"}


def register_all() -> None:
    """Register the checks."""
    for check in (
        check_settings,
        check_retention,
        check_wiring,
        check_consumers,
        check_handlers,
        check_permissions,
        check_databases,
    ):
        checks.register(check, TAG)
    checks.register(check_servers, TAG, checks.Tags.database)


def check_settings(app_configs: Any, **_: Any) -> Sequence[checks.CheckMessage]:
    """Check the setting DJANGO_CQRS and the classes that it names."""
    found, problems = _settings()
    messages: list[checks.CheckMessage] = [checks.Error(problem, id="cqrs.E001") for problem in problems]
    for name, broker in found.brokers.items():
        messages += _importable(broker.backend, f"BROKERS[{name!r}]")
    store = None if found.claims is None else found.claims.store
    tenants = (found.tenant, found.schema_of, found.schemas if isinstance(found.schemas, str) else None)
    optional = [path for path in (found.container, found.codec, store, *tenants) if path is not None]
    for path in (*found.middlewares, *optional, *found.codecs.values(), found.mediator):
        messages += _importable(path, "DJANGO_CQRS")
    if not problems and not messages:
        messages += _constructible(found)
        if not isinstance(import_string(found.mediator), DjangoMediator):
            messages.append(checks.Error(f"MEDIATOR: {found.mediator!r} is no DjangoMediator", id="cqrs.E002"))
    return messages


def _importable(path: str, where: str) -> Iterator[checks.CheckMessage]:
    try:
        import_string(path)
    except ImportError as error:
        yield checks.Error(f"{where}: {path!r} cannot be imported: {error}", id="cqrs.E002")


def _constructible(found: Settings) -> Iterator[checks.CheckMessage]:
    from django_cqrs import policies
    from django_cqrs.brokers import broker
    from django_cqrs.codecs import project_codec, project_codecs, project_packing
    from django_cqrs.engines import problems_of
    from django_cqrs.tracing import message_spans

    for name in found.brokers:
        try:
            broker(name)
        except CQRSError as error:
            yield checks.Error(f"BROKERS[{name!r}]: {error}", id="cqrs.E003")
    for problem in (*problems_of(found), *policies.problems_of(found)):
        yield checks.Error(problem, id="cqrs.E003")
    yield from _unreadable(found)
    for made in (project_codec, project_codecs, project_packing, message_spans):
        try:
            made()
        except CQRSError as error:
            yield checks.Error(str(error), id="cqrs.E003")


def _unreadable(found: Settings) -> Iterator[checks.CheckMessage]:
    """Warn of brokers that speak for readers who know neither compression nor claim checks."""
    for name, broker in found.brokers.items():
        wire = broker.options.get("format")
        spoken = wire if isinstance(wire, str) else type(wire).__name__
        if spoken in OF_OTHERS and (found.compress or found.claims):
            yield checks.Warning(
                f"BROKERS[{name!r}] speaks as {spoken}, whose readers know neither compression nor claim checks",
                hint="Leave COMPRESS and CLAIMS out, or let `above` be more than what goes there.",
                id="cqrs.W011",
            )


def check_retention(app_configs: Any, **_: Any) -> Sequence[checks.CheckMessage]:
    """Check that what is kept for some time is remembered for as long."""
    found, problems = _settings()
    if problems:
        return []
    return [
        *(checks.Warning(said, hint=cure, id="cqrs.W012") for said, cure in fitting.contradictions(found)),
        *(checks.Warning(said, hint=cure, id="cqrs.W013") for said, cure in cdc.contradictions(found)),
    ]


def check_wiring(app_configs: Any, **_: Any) -> Sequence[checks.CheckMessage]:
    """Check what the mediator says of its handlers: names, keys, dependencies."""
    mediator = _mediator()
    return [] if mediator is None else [checks.Error(problem, id="cqrs.E004") for problem in mediator.problems()]


def check_consumers(app_configs: Any, **_: Any) -> Sequence[checks.CheckMessage]:
    """Check that each consumer has handlers, and that its topics reach its broker."""
    mediator = _mediator()
    if mediator is None:
        return []
    from django_cqrs.consumers import topics_of

    found, _problems = _settings()
    handled = {r.options.consumer for r in mediator.registrations()}
    messages: list[checks.CheckMessage] = [
        checks.Error(
            f"the consumer {name!r} has no handlers; write one with @handles(..., consumer={name!r}), or take it out "
            "of CONSUMERS",
            id="cqrs.E005",
        )
        for name in found.consumers
        if name not in handled and name != DEFERRED and not (name == SAGAS and mediator.saga_definitions)
    ]
    names = dict.fromkeys([*found.consumers, *(name for name in handled if name is not None)])
    for name in names:
        for topic in topics_of(name, mediator):
            messages += _reaches(found, mediator, name, topic)
    return messages


def _reaches(found: Settings, mediator: DjangoMediator, name: str, topic: str) -> Iterator[checks.CheckMessage]:
    """Complain of a consumer that waits at one broker for what goes to another; strangers may send it, so it warns."""
    source = found.consumer(name).broker
    ours = [
        m
        for r in mediator.registrations()
        for m in r.messages
        if r.options.consumer == name and mediator.vocabulary.topic(m) == topic
    ]
    outside = any(issubclass(m, IntegrationEvent) for m in ours)
    routed = found.brokers_for(topic) if outside or not ours else (DATABASE,)
    arriving = {str(entry.options.get("to")) for name, entry in cdc.cdc_brokers(found).items() if name in routed}
    if source not in {*routed, *arriving}:
        yield checks.Warning(
            f"the consumer {name!r} reads {topic!r} from {source!r}, but this project sends it to {', '.join(routed)}",
            hint=f"Set CONSUMERS[{name!r}]['broker'], or route the topic to {source!r} as well.",
            id="cqrs.W006",
        )


def check_handlers(app_configs: Any, **_: Any) -> Sequence[checks.CheckMessage]:
    """Find commands, queries and streams of the project's apps that nobody handles."""
    mediator = _mediator()
    if mediator is None:
        return []
    handled = {m for r in mediator.registrations() for m in r.messages}
    labels = {(m.__module__, m.__qualname__) for m in handled}
    return [
        checks.Warning(
            f"{cls.__module__}.{cls.__qualname__} has no handler",
            hint=f"Write one with @handles({cls.__name__}) in handlers.py of its app.",
            id="cqrs.W007",
        )
        for cls in _requests()
        if (cls.__module__, cls.__qualname__) not in labels
    ]


def _requests() -> Iterator[type[Message]]:
    """Yield the commands, queries and streams of installed apps that have no subclasses."""
    waiting: list[type[Message]] = [Command, Query, Stream]
    met: set[tuple[str, str]] = set()
    while waiting:
        cls = waiting.pop()
        subclasses = cls.__subclasses__()
        waiting += subclasses
        place = (cls.__module__, cls.__qualname__)
        if not subclasses and place not in met and apps.get_containing_app_config(cls.__module__):
            met.add(place)
            yield cls


def check_permissions(app_configs: Any, **_: Any) -> Sequence[checks.CheckMessage]:
    """Check that the permissions that messages need are defined somewhere."""
    from django_cqrs.permission_checks import unknown_permissions

    mediator = _mediator()
    return [] if mediator is None else unknown_permissions(mediator)


def check_databases(app_configs: Any, **_: Any) -> Sequence[checks.CheckMessage]:
    """Check that the databases can do what outbox and inbox ask of them."""
    found, _problems = _settings()
    messages: list[checks.CheckMessage] = []
    for alias in dict.fromkeys(["default", *found.databases.values()]):
        configured: Any = django_settings.DATABASES.get(alias, {})
        messages += check_settings_of(alias, configured)
    return [
        *messages,
        *(check_schemas(django_settings.DATABASES.get(TENANTS, {})) if found.schemas is not None else ()),
    ]


def check_servers(app_configs: Any, databases: Sequence[str] | None = None, **_: Any) -> Sequence[checks.CheckMessage]:
    """Check the servers themselves, when Django is about to talk to them: before `migrate`, or if it is asked to."""
    found, _problems = _settings()
    ours = {"default", *found.databases.values()}
    return [message for alias in databases or () if alias in ours for message in check_server(alias)]


def _settings() -> tuple[Settings, list[str]]:
    return read_settings(getattr(django_settings, "DJANGO_CQRS", {}))


def _mediator() -> DjangoMediator | None:
    """Return the project's mediator, or None if the settings do not allow one."""
    found, problems = _settings()
    if problems:
        return None
    try:
        mediator = import_string(found.mediator)
        if not isinstance(mediator, DjangoMediator):
            return None
        mediator.configure()
        _ = mediator.vocabulary  # which imports the codecs
    except (ImportError, NotConfigured):  # of which the settings' own check tells
        return None
    return mediator
