"""The project's relays: one for each broker on each alias that has an outbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_cqrs.brokers import broker_names, per_thread, system_of
from django_cqrs.cdc import cdc_brokers
from django_cqrs.conf import settings
from django_cqrs.queue import DjangoStorage
from django_cqrs.tracing import message_spans
from simplecqrs.errors import NotConfigured
from simplecqrs.expiry import shipping_unexpired
from simplecqrs.packing import signing
from simplecqrs.queue import DATABASE
from simplecqrs.relay import Relay
from simplecqrs.transport import Destination

__all__ = ["aliases", "choose_aliases", "choose_routes", "relays"]


def aliases() -> list[str]:
    """Return the aliases on which commands run, and which therefore have an outbox."""
    return list(dict.fromkeys(["default", *settings().databases.values()]))


def choose_aliases(wanted: Sequence[str]) -> list[str]:
    """Return these aliases; all that have an outbox, if none are named.  Raises NotConfigured."""
    return _choose("alias with an outbox", aliases(), wanted)


def choose_routes(wanted: Sequence[str]) -> list[str]:
    """Return these brokers; all, if none are named.  Raises NotConfigured."""
    return _choose("broker", broker_names(), wanted)


def relays(*, routes: Sequence[str] = (), databases: Sequence[str] = ()) -> list[Relay]:
    """
    Return the relays of these brokers and aliases; of all, if none are named.

    Raises:
        NotConfigured: if there is no such broker or alias.
    """
    names, left = choose_routes(routes), cdc_brokers()
    for name in routes:
        if name in left:
            raise NotConfigured(f"no relay ships to {name!r}: its events are left to Debezium")
    found = settings()
    return [
        Relay(
            queue=name,
            storage=DjangoStorage("outbox", alias),
            publisher=shipping_unexpired(_traced(name)),
            batch=found.relay_batch,
            retry=found.relay_retry,
            on_dead=found.relay_on_dead,
            local=name == DATABASE,
        )
        for alias in choose_aliases(databases)
        for name in names
        if name not in left
    ]


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
