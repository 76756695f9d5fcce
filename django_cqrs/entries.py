"""What the setting ``DJANGO_CQRS`` may hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal

from attrs import field, frozen
from attrs.converters import optional as optionally
from attrs.validators import ge, in_, instance_of, le, matches_re, optional

from django_cqrs.entry_fields import (
    DAEMON,
    age,
    bytes_of_aliases,
    is_engine,
    is_on_error,
    list_of_names,
    mapping,
    names_or_path,
    number,
    object_of,
    text,
)
from django_cqrs.pending_limits import PendingLimit, pending_limits
from simplecqrs.backoff import Retry
from simplecqrs.middlewares.log import MASK
from simplecqrs.packing import Compress, Signer
from simplecqrs.policies import GRACE
from simplecqrs.queue import DATABASE, LANES
from simplecqrs.registration import Fate, OnDead

__all__ = [
    "BrokerSettings",
    "ClaimSettings",
    "ConsumerSettings",
    "Guard",
    "SagaSettings",
    "Settings",
    "most_specific",
    "most_specific_pattern",
]

Guard = Literal["raise", "log", "off", "database"]
MOST_LANES = 256


@frozen(kw_only=True)
class BrokerSettings:
    """One entry of BROKERS: the dotted path of a class, and what it is called with."""

    backend: str = field(validator=instance_of(str))
    options: Mapping[str, Any] = mapping(secret=True)


@frozen(kw_only=True)
class ClaimSettings:
    """
    Where large payloads go.

    Args:
        above: bytes, after compression.
        storage: an alias of Django's STORAGES.
        store: the dotted path of a ClaimStore, an object or a class without arguments, instead.
    """

    above: int = number(int, 256 * 1024, ge(0))
    storage: str = text("default")
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
    broker: str = text(DATABASE)
    engine: str = field(default=DAEMON, validator=is_engine)
    lanes: int = number(int, LANES, ge(1), le(MOST_LANES))
    timeout: float = number((int, float), 300.0, ge(0.001))
    batch: int = number(int, 1, ge(1), le(1000))
    apps: tuple[str, ...] = field(default=(), converter=list_of_names)
    retry: Retry = field(factory=Retry, validator=instance_of(Retry))
    on_dead: OnDead = field(default="hold", validator=in_(("hold", "continue")))
    on_error: Mapping[type[Exception] | str, Fate] = field(factory=dict, validator=is_on_error)
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

    interval: float = number((int, float), 5.0, ge(0.001))
    batch: int = number(int, 100, ge(1))
    take_overs: Retry = field(factory=lambda: Retry(5, first=5.0, cap=600.0), validator=instance_of(Retry))
    patience: float = number((int, float), 0.0, ge(0))


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

    brokers: Mapping[str, BrokerSettings] = mapping(secret=True)
    routes: Mapping[str, tuple[str, ...]] = mapping()
    consumers: Mapping[str, ConsumerSettings] = mapping()
    middlewares: tuple[str, ...] = field(default=(), converter=list_of_names)
    container: str | None = field(default=None, validator=optional(instance_of(str)))
    codec: str | None = field(default=None, validator=optional(instance_of(str)))
    codecs: Mapping[str, str] = mapping()
    compress: Compress | None = object_of(Compress)  # noqa: RUF009 - it is a field
    claims: ClaimSettings | None = object_of(ClaimSettings)  # noqa: RUF009 - it is a field
    signature_keys: Signer | None = object_of(Signer, lambda **keys: Signer(keys), secret=True)  # noqa: RUF009 - it is a field
    scope: Literal["message", "handler"] = field(default="message", validator=in_(("message", "handler")))
    event_workers: int = number(int, 1, ge(1))
    databases: Mapping[str, str] = mapping()
    mediator: str = text("django_cqrs.bus")
    source: str = text("")
    query_guard: Guard = field(default="raise", validator=in_(("raise", "log", "off", "database")))
    alias_guard: Guard = field(default="raise", validator=in_(("raise", "log", "off")))
    relay_tick_seconds: float = number((int, float), 5.0, ge(0.001))
    relay_batch: int = number(int, 1000, ge(1))
    relay_retry: Retry = field(factory=Retry, validator=instance_of(Retry))
    relay_on_dead: OnDead = field(default="hold", validator=in_(("hold", "continue")))
    max_bytes: int = number(int, 1024 * 1024, ge(1))
    max_pending: Mapping[str, PendingLimit] = field(factory=dict, converter=pending_limits)
    wakeup: Literal["notify", "none"] = field(default="notify", validator=in_(("notify", "none")))
    listen_alias: Mapping[str, str] = mapping()
    celery_queue: str = text("cqrs")
    tasks_backend: str = text("default")
    tasks_queue: str = text("default")
    deploy_grace: float = number((int, float), GRACE, ge(0))
    seen_days: float = number((int, float), 14.0, ge(0))
    stream_days: float = number((int, float), 0.0, ge(0))
    cdc_days: float = number((int, float), 3.0, ge(0))
    dead_days: float = number((int, float), 0.0, ge(0))
    action_days: float = number((int, float), 0.0, ge(0))
    idempotency_days: float = number((int, float), 7.0, ge(0))
    sagas: SagaSettings | None = object_of(SagaSettings)  # noqa: RUF009 - it is a field
    saga_days: float = number((int, float), 30.0, ge(0))
    tally_days: float = number((int, float), 14.0, ge(0))
    keep_history: timedelta = field(default=timedelta(0), converter=age)
    disk_bytes: Mapping[str, int] = field(factory=dict, validator=bytes_of_aliases)
    idempotency_wait: float = number((int, float), 10.0, ge(0))
    schemas: tuple[str, ...] | str | None = field(default=None, converter=names_or_path)
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
