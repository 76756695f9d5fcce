"""What the setting ``DJANGO_CQRS`` may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

from attrs import field, frozen
from attrs.converters import optional as optionally
from attrs.validators import ge, in_, instance_of, le, matches_re, optional

from django_cqrs.ages import age_of
from django_cqrs.pending_limits import PendingLimit, pending_limits
from simplecqrs.backoff import Retry
from simplecqrs.errors import NotConfigured
from simplecqrs.middlewares.log import MASK
from simplecqrs.packing import Compress, Signer
from simplecqrs.policies import GRACE
from simplecqrs.queue import DATABASE, LANES
from simplecqrs.registration import Fate, OnDead, check_on_error

__all__ = [
    "DAEMON",
    "BrokerSettings",
    "ClaimSettings",
    "ConsumerSettings",
    "Guard",
    "SagaSettings",
    "Settings",
    "list_of_names",
    "most_specific",
    "most_specific_pattern",
]

Guard = Literal["raise", "log", "off", "database"]
MOST_LANES = 256
#: The engine that looks for work by itself, and those that are rung for and have names.
DAEMON, RUNG = "daemon", ("celery", "django-tasks")


def list_of_names(value: Any) -> tuple[str, ...]:
    """Make a tuple of a list of names; one string is no list of its letters."""
    if isinstance(value, str) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"it is a list of strings, not {value!r}")
    return tuple(value)


def _names_or_path(value: Any) -> tuple[str, ...] | str | None:
    return value if value is None or isinstance(value, str) else list_of_names(value)


def _mapping(**metadata: object) -> Any:
    return field(factory=dict, validator=_is_dict, metadata=metadata, repr=not metadata.get("secret"))


def _is_dict(_: Any, __: Any, value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError("it is a dict")  # without the value, which may hold a password


def _object(kind: type, make: Callable[..., object] | None = None, **metadata: object) -> Any:
    """Return a field that makes an object of a dict; what is wrong is a ValueError, as for any other entry."""

    def converted(value: Any) -> Any:
        if value is None or isinstance(value, kind):
            return value
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise TypeError("it is a dict with names as keys")
        try:
            return (make or kind)(**value)
        except (NotConfigured, TypeError) as error:
            raise ValueError(error.args[0]) from None

    return field(default=None, converter=converted, metadata=metadata)


def _text(default: str) -> Any:
    return field(default=default, validator=instance_of(str))


def _number(kind: type | tuple[type, ...], default: float, *limits: Any) -> Any:
    of_kind: Any = instance_of(kind)
    return field(default=default, validator=[of_kind, *limits])


def _age(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else timedelta(0) if value is None else age_of(value)


def _bytes_of_aliases(_: Any, __: Any, value: Any) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(size, int) and size > 0 for size in value.values()):
        raise TypeError("it is a dict of aliases and bytes")


def _engine(_: Any, __: Any, value: Any) -> None:
    if value not in (DAEMON, *RUNG) and not (isinstance(value, str) and "." in value):
        raise ValueError(
            f"an engine is one of {DAEMON}, {', '.join(RUNG)}, or the dotted path of a function that rings"
        )


def _on_error(_: Any, __: Any, value: Any) -> None:
    """Check fates as they are for handlers; exceptions may be named by dotted paths, which are looked up later."""
    if not isinstance(value, Mapping):
        raise TypeError("it is a dict of exceptions and what becomes of the message")
    found: Mapping[Any, Any] = value
    for cls, fate in found.items():
        check_on_error(None, None, {Exception if isinstance(cls, str) else cls: fate})


@frozen(kw_only=True)
class BrokerSettings:
    """One entry of BROKERS: the dotted path of a class, and what it is called with."""

    backend: str = field(validator=instance_of(str))
    options: Mapping[str, Any] = _mapping(secret=True)


@frozen(kw_only=True)
class ClaimSettings:
    """
    Where large payloads go.

    Args:
        above: bytes, after compression.
        storage: an alias of Django's STORAGES.
        store: the dotted path of a ClaimStore, an object or a class without arguments, instead.
    """

    above: int = _number(int, 256 * 1024, ge(0))
    storage: str = _text("default")
    store: str | None = field(default=None, validator=optional(instance_of(str)))


@frozen(kw_only=True)
class ConsumerSettings:
    """
    One entry of CONSUMERS.

    Args:
        topics: what it subscribes to; None: the topics of the events that it has handlers for.
        broker: where they come from.
        engine: what starts its workers: ``daemon``, ``celery``, ``django-tasks``, or the dotted path of a function that
            asks those of another task queue to work for a consumer.
        lanes: how many messages can be worked at a time; changed only while its inbox is empty.
        timeout: seconds that a handler may do nothing at the database.
        batch: messages per transaction.  More are faster; if one of them fails, all are rolled back and handled one by
            one.  What handlers do outside of the database is repeated then, and after a crash.
        apps: integration events' handlers in these apps belong to it if they say nothing else.
        retry: attempts and pauses of its handlers that say nothing else.
        on_dead: what a dead letter does to the followers of its key.
        on_error: what becomes of a message that failed, by the class of the exception or its dotted path.
        strict: a message without a handler is a dead letter.
        allow_commands: whoever can write to its broker may give commands, all that this project has handlers for.
        replay: a message older than SEEN_DAYS is handled, not a dead letter: for a new consumer of an old stream.
        signed: what was not signed with one of SIGNATURE_KEYS is a dead letter.
    """

    topics: tuple[str, ...] | None = field(default=None, converter=optionally(list_of_names))
    broker: str = _text(DATABASE)
    engine: str = field(default=DAEMON, validator=_engine)
    lanes: int = _number(int, LANES, ge(1), le(MOST_LANES))
    timeout: float = _number((int, float), 300.0, ge(0.001))
    batch: int = _number(int, 1, ge(1), le(1000))
    apps: tuple[str, ...] = field(default=(), converter=list_of_names)
    retry: Retry = field(factory=Retry, validator=instance_of(Retry))
    on_dead: OnDead = field(default="hold", validator=in_(("hold", "continue")))
    on_error: Mapping[type[Exception] | str, Fate] = field(factory=dict, validator=_on_error)
    strict: bool = field(default=False, validator=instance_of(bool))
    allow_commands: bool = field(default=False, validator=instance_of(bool))
    replay: bool = field(default=False, validator=instance_of(bool))
    signed: bool = field(default=False, validator=instance_of(bool))


@frozen(kw_only=True)
class SagaSettings:
    """
    How sagas that nobody works on are found.

    Args:
        interval: seconds between two looks.
        batch: how many are taken over at a look, at most.
        take_overs: how often one is taken over that does not go on, and the pauses in between.
        patience: seconds to wait for attempts that are due later; else they are left to a later look.
    """

    interval: float = _number((int, float), 5.0, ge(0.001))
    batch: int = _number(int, 100, ge(1))
    take_overs: Retry = field(factory=lambda: Retry(5, first=5.0, cap=600.0), validator=instance_of(Retry))
    patience: float = _number((int, float), 0.0, ge(0))


@frozen(kw_only=True)
class Settings:
    """
    All of ``DJANGO_CQRS``; the keys are these names in capitals.

    Args:
        codec: the dotted path of what makes payloads, an object or a class.  Default: ``JSONCodec``.
        codecs: those of some messages, by patterns of their names.
        compress: which payloads are compressed, and how.  Default: none.
        claims: which payloads are put elsewhere, and where.  Default: none.
        signature_keys: what goes to brokers is signed with the first one.  Default: nothing is signed.
        scope: how long dependencies are shared, see ``Mediator``.
        relay_on_dead: what a dead event does to those that follow under its key.
        max_pending: how much may wait in an outbox, by patterns of brokers' names.  Default: there is no limit.
        wakeup: whether commits tell waiting daemons of work, on PostgreSQL.
        listen_alias: the alias on which daemons listen in another's place, past a pooler that cannot do it.
        celery_queue: where doorbells for Celery's workers go.
        tasks_backend: the backend of Django's tasks by which doorbells go, an alias in TASKS.
        tasks_queue: the queue there.
        deploy_grace: seconds that a message waits for a release that can handle it before it counts as failed.
        seen_days: how long ids of messages are remembered, so that a second one is dropped; 0 is for ever.
        stream_days: how long brokers that trim keep what all consumers have acknowledged; 0 is for ever.
        cdc_days: how long events stay in the outbox that are left to change data capture; 0 is for ever.
        dead_days: how long dead letters are kept behind which nothing waits; 0 is for ever.
        action_days: how long the record of what operators did is kept; 0 is for ever.
        idempotency_days: how long idempotency keys and their answers are kept; 0 is for ever.
        tally_days: how long it is known how much was done in each minute; 0 is for ever.
        disk_bytes: how large the database of an alias may become, where the server cannot tell.
        idempotency_wait: seconds that a command waits for another one of its idempotency key.
        event_workers: how many after-commit handlers of an event may run at a time, in threads.
        sagas: how those that nobody works on are found.
        saga_days: how long sagas that have ended are kept, with their logs; 0 is for ever.
        keep_history: how long events are kept that were shipped, such as ``48h``.  Default: they are deleted.
        schemas: those of PostgreSQL that tenants have, or the dotted path of a function that returns them.
        schema_of: the dotted path of a function from an envelope to the schema whose inbox takes it.
        tenant: the dotted path of a function from a request to its tenant's name, or None.
        tracing: whether spans of OpenTelemetry are opened for messages, their handlers, relays and consumers.
        mask: names whose values are not shown; ``*`` stands for any characters.
    """

    brokers: Mapping[str, BrokerSettings] = _mapping(secret=True)
    routes: Mapping[str, tuple[str, ...]] = _mapping()
    consumers: Mapping[str, ConsumerSettings] = _mapping()
    middlewares: tuple[str, ...] = field(default=(), converter=list_of_names)
    container: str | None = field(default=None, validator=optional(instance_of(str)))
    codec: str | None = field(default=None, validator=optional(instance_of(str)))
    codecs: Mapping[str, str] = _mapping()
    compress: Compress | None = _object(Compress)  # noqa: RUF009 - it is a field
    claims: ClaimSettings | None = _object(ClaimSettings)  # noqa: RUF009 - it is a field
    signature_keys: Signer | None = _object(Signer, lambda **keys: Signer(keys), secret=True)  # noqa: RUF009 - it is a field
    scope: Literal["message", "handler"] = field(default="message", validator=in_(("message", "handler")))
    event_workers: int = _number(int, 1, ge(1))
    databases: Mapping[str, str] = _mapping()
    mediator: str = _text("django_cqrs.bus")
    source: str = _text("")
    query_guard: Guard = field(default="raise", validator=in_(("raise", "log", "off", "database")))
    alias_guard: Guard = field(default="raise", validator=in_(("raise", "log", "off")))
    relay_tick_seconds: float = _number((int, float), 5.0, ge(0.001))
    relay_batch: int = _number(int, 1000, ge(1))
    relay_retry: Retry = field(factory=Retry, validator=instance_of(Retry))
    relay_on_dead: OnDead = field(default="hold", validator=in_(("hold", "continue")))
    max_bytes: int = _number(int, 1024 * 1024, ge(1))
    max_pending: Mapping[str, PendingLimit] = field(factory=dict, converter=pending_limits)
    wakeup: Literal["notify", "none"] = field(default="notify", validator=in_(("notify", "none")))
    listen_alias: Mapping[str, str] = _mapping()
    celery_queue: str = _text("cqrs")
    tasks_backend: str = _text("default")
    tasks_queue: str = _text("default")
    deploy_grace: float = _number((int, float), GRACE, ge(0))
    seen_days: float = _number((int, float), 14.0, ge(0))
    stream_days: float = _number((int, float), 0.0, ge(0))
    cdc_days: float = _number((int, float), 3.0, ge(0))
    dead_days: float = _number((int, float), 0.0, ge(0))
    action_days: float = _number((int, float), 0.0, ge(0))
    idempotency_days: float = _number((int, float), 7.0, ge(0))
    sagas: SagaSettings | None = _object(SagaSettings)  # noqa: RUF009 - it is a field
    saga_days: float = _number((int, float), 30.0, ge(0))
    tally_days: float = _number((int, float), 14.0, ge(0))
    keep_history: timedelta = field(default=timedelta(0), converter=_age)
    disk_bytes: Mapping[str, int] = field(factory=dict, validator=_bytes_of_aliases)
    idempotency_wait: float = _number((int, float), 10.0, ge(0))
    schemas: tuple[str, ...] | str | None = field(default=None, converter=_names_or_path)
    schema_of: str | None = field(default=None, validator=optional(instance_of(str)))
    tenant: str | None = field(default=None, validator=optional(instance_of(str)))
    tracing: bool = field(default=False, validator=instance_of(bool))
    mask: tuple[str, ...] = field(default=MASK, converter=list_of_names)
    table_prefix: str = field(default="cqrs_", validator=matches_re("[a-z_][a-z0-9_]{0,11}"))

    def brokers_for(self, topic: str) -> tuple[str, ...]:
        """Return the brokers that events of a topic go to."""
        found: tuple[str, ...] = most_specific(self.routes, topic, default=(DATABASE,))
        return found

    @property
    def rung_consumers(self) -> list[str]:
        """Return the consumers whose workers are not the daemon's, and who are rung for."""
        return [name for name, consumer in self.consumers.items() if consumer.engine != DAEMON]

    def alias_for(self, name: str) -> str:
        """Return the database alias of a message's transaction."""
        return str(most_specific(self.databases, name, default="default"))

    def consumer(self, name: str) -> ConsumerSettings:
        """Return a consumer's settings; those of one that is not named are the defaults."""
        return self.consumers.get(name, ConsumerSettings())


def most_specific(patterns: Mapping[str, Any], name: str, *, default: Any) -> Any:
    """Return the value of the pattern that fits a name best."""
    pattern = most_specific_pattern(patterns, name)
    return default if pattern is None else patterns[pattern]


def most_specific_pattern(patterns: Mapping[str, Any], name: str) -> str | None:
    """Return the pattern that fits a name best: the name itself, else the one with most literal text; None: none."""
    fitting = [pattern for pattern in patterns if fnmatchcase(name, pattern)]
    if not fitting:
        return None
    return max(fitting, key=lambda pattern: (pattern == name, len(pattern.replace("*", ""))))
