"""The project's relays: one for each broker on each alias that has an outbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from django_cqrs.brokers import broker_names, per_thread, system_of
from django_cqrs.cdc import cdc_brokers
from django_cqrs.conf import settings
from django_cqrs.probes import of_queue
from django_cqrs.queue import DjangoStorage
from django_cqrs.rounds import everywhere
from django_cqrs.schemas import TENANTS, known_here
from django_cqrs.tenants import stamping
from django_cqrs.tracing import message_spans
from simplecqrs.counts import Counts
from simplecqrs.errors import NotConfigured
from simplecqrs.expiry import shipping_unexpired
from simplecqrs.packing import signing
from simplecqrs.queue import DATABASE
from simplecqrs.relay import Relay
from simplecqrs.transport import Destination

__all__ = ["aliases", "choose_aliases", "choose_routes", "one_relay", "relays"]


def aliases() -> list[str]:
    """Return the aliases on which commands run, and which therefore have an outbox."""
    return list(dict.fromkeys(["default", *settings().databases.values()]))


def choose_aliases(wanted: Sequence[str], schemas: Sequence[str] = ()) -> list[str]:
    """
    Return these aliases; all that have an outbox, if none are named.

    Args:
        schemas: if there are any, only the alias that has them.

    Raises:
        NotConfigured: if there is no such alias.
    """
    return _choose("alias with an outbox", [TENANTS] if schemas else aliases(), wanted)


def choose_routes(wanted: Sequence[str]) -> list[str]:
    """Return these brokers; all, if none are named.  Raises NotConfigured."""
    return _choose("broker", broker_names(), wanted)


def relays(*, routes: Sequence[str] = (), databases: Sequence[str] = (), schemas: Sequence[str] = ()) -> list[Any]:
    """
    Return the relays of these brokers and aliases; of all, if none are named.

    Args:
        schemas: only in these; see ``schemas_of``.

    Raises:
        NotConfigured: if there is no such broker or alias.
    """
    names, left = choose_routes(routes), cdc_brokers()
    for name in routes:
        if name in left:
            raise NotConfigured(f"no relay ships to {name!r}: its events are left to Debezium")
    return [
        everywhere(alias, partial(_relay, name, alias, _publisher(name), Counts()), of_queue("outbox", [name]), schemas)
        for alias in choose_aliases(databases, schemas)
        for name in names
        if name not in left
    ]


def one_relay(name: str, alias: str) -> Relay:
    """Return the relay of one broker and alias, in the schema where one is now."""
    return _relay(name, alias, _publisher(name), Counts())


def _relay(name: str, alias: str, publisher: Destination, counts: Counts) -> Relay:
    found = settings()
    return Relay(
        queue=name,
        storage=DjangoStorage("outbox", alias),
        publisher=publisher if name == DATABASE else stamping(publisher, known_here(alias)),
        batch=found.relay_batch,
        retry=found.relay_retry,
        on_dead=found.relay_on_dead,
        local=name == DATABASE,
        counts=counts,
    )


def _publisher(name: str) -> Destination:
    return shipping_unexpired(_traced(name))


def _signing(name: str) -> Destination:
    """Return a broker that gets what it is sent signed, if there are keys; our own database needs no signature."""
    signer = settings().signature_keys
    return per_thread(name) if signer is None or name == DATABASE else signing(per_thread(name), signer)


def _traced(name: str) -> Destination:
    """Return a broker whose batches have spans, if that is asked for."""
    spans = message_spans()
    return _signing(name) if spans is None else spans.sending(_signing(name), queue=name, system=system_of(name))


def _choose(what: str, known: Iterable[str], wanted: Sequence[str]) -> list[str]:
    names = list(known)
    for name in wanted:
        if name not in names:
            raise NotConfigured(f"there is no {what} {name!r}; known are {', '.join(names)}")
    return list(wanted) or names
