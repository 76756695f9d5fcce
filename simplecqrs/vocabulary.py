"""What the project's messages are called on the wire and in tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from simplecqrs.codec.port import Codec, Inspects, PlainCodec
from simplecqrs.codec.routing import CodecRoutes, Codecs
from simplecqrs.envelope import Envelope
from simplecqrs.errors import InvalidMessage, NewerVersion, UnknownMessage
from simplecqrs.messages import LONGEST, Event, Message, traits
from simplecqrs.metadata import Metadata
from simplecqrs.packing import Packing
from simplecqrs.timing import EXPIRY, expires_at
from simplecqrs.unit import Published
from simplecqrs.upcasting import Upcasters, default_upcasters

__all__ = ["Naming", "Vocabulary", "class_name"]

#: Gives a message class the name that it does not give itself.
Naming = Callable[[type[Message]], str]
#: Packs nothing, and unpacks what others have compressed.
DEFAULT: Final = Packing()


def class_name(cls: type[Message]) -> str:
    """Name a message by its class alone."""
    return cls.__name__


class Vocabulary:
    """
    Translate between message classes and their names, and between messages and envelopes.

    Args:
        classes: the message classes that handlers were registered for; their subclasses are known as well.
        codec: makes the payload.
        codecs: make it instead, for these classes and patterns of names.
        packing: what is done to the payload after that.
        upcasters: make the fields of this version of a message of those of older ones.
        naming: names classes that do not name themselves.
        source: who we are, in the envelopes.
        stored: no two of the classes that derive from these, those that may be stored or sent, may share a name.
        encoded: those that are stored or sent for certain, so that a codec has to know what to do with their fields.
            Default: all of them.
    """

    def __init__(
        self,
        classes: Iterable[type[Message]],
        *,
        codec: Codec,
        codecs: Codecs | None = None,
        packing: Packing = DEFAULT,
        upcasters: Upcasters = default_upcasters,
        naming: Naming = class_name,
        source: str = "",
        stored: Iterable[type[Message]] = (Message,),
        encoded: Iterable[type[Message]] | None = None,
    ) -> None:
        self._roots = tuple(dict.fromkeys(classes))
        self._codecs = CodecRoutes(codec, codecs)
        self._codec_of: WeakKeyDictionary[type[Message], Codec] = WeakKeyDictionary()
        self._packing = packing
        self._upcasters = upcasters
        self._naming = naming
        self._source = source
        self._stored = tuple(stored)
        self._encoded = self._stored if encoded is None else tuple(encoded)
        self._classes: dict[str, list[type[Message]]] = {}

    def name(self, cls: type[Message]) -> str:
        """Return the name of a message class."""
        return traits(cls).name or self._naming(cls)

    def topic(self, cls: type[Message]) -> str:
        """Return the topic of a message class: its own, an inherited one, or its name."""
        return traits(cls).topic or self.name(cls)

    def find(self, name: str) -> type[Message]:
        """
        Return the message class of a name.

        Raises:
            UnknownMessage: if none is known by it, or if nobody could know which one is meant.
        """
        if name not in self._classes:
            self._classes = self._by_name()
        known = self._classes.get(name, [])
        if not known:
            raise UnknownMessage(f"no message is called {name!r} here")
        if len(known) > 1:
            raise UnknownMessage(f"{name!r} may be {' or '.join(map(_path, known))}; give one of them a name")
        return known[0]

    def _by_name(self) -> dict[str, list[type[Message]]]:
        """Return the classes of each name; those that were registered go before mere subclasses."""
        found: dict[str, list[type[Message]]] = {}
        for cls in _with_subclasses(self._roots):
            found.setdefault(self.name(cls), []).append(cls)
        roots = frozenset(self._roots)
        return {name: [c for c in known if c in roots] or known for name, known in found.items()}

    def problems(self) -> list[str]:
        """Return what is wrong with names and keys of the classes that were registered."""
        found: list[str] = []
        by_name: dict[str, type[Message]] = {}
        for cls in [c for c in _with_subclasses(self._roots) if c in self._roots]:
            other = by_name.setdefault(self.name(cls), cls) if issubclass(cls, self._stored) else cls
            if other is not cls:
                found.append(
                    f"{_path(other)} and {_path(cls)} are both called {self.name(cls)!r}; give one of them a name: "
                    f'class {cls.__qualname__}(..., name="...")'
                )
            if len(self.name(cls)) > LONGEST:
                found.append(f"{_path(cls)}: its name is longer than {LONGEST} characters")
            key = traits(cls).key
            if key and not cls.__subclasses__() and not _has_field(cls, key):  # a base may leave the field to others
                found.append(f"{_path(cls)} is ordered by key={key!r}, but has no such field")
            found += self._codec_problems(cls)
        return found

    @property
    def default_codec(self) -> Codec:
        """Return the codec of what has none of its own."""
        return self._codecs.default

    def codec(self, cls: type[Message]) -> Codec:
        """Return the codec that encodes messages of a class."""
        found = self._codec_of.get(cls)
        if found is None:
            found = self._codec_of[cls] = self._codecs.writer(cls, self.name(cls))
        return found

    def _codec_problems(self, cls: type[Message]) -> list[str]:
        """Return why messages of a class cannot be encoded, decoded or upcast."""
        found = self._upcasters.problems(cls)
        codec = self.codec(cls)
        if self._upcasters.knows(cls) and not isinstance(codec, PlainCodec):
            found.append(
                f"{_path(cls)} has upcasters, but {type(codec).__name__} gives no plain data for them; remove them, or "
                f"give it another codec: codecs={{{cls.__qualname__}: JSONCodec()}}"
            )
        if issubclass(cls, self._encoded) and isinstance(codec, Inspects):
            found += codec.problems(cls)
        return found

    def envelope(
        self, message: Message, metadata: Metadata, *, key: str | None = None, expires: datetime | None = None
    ) -> Envelope:
        """
        Encode a message.

        Args:
            key: the order key; None: what the class says.
            expires: when it is not shipped and not handled any more; None: never.

        Raises:
            InvalidPayload: if it cannot be encoded.
        """
        cls = type(message)
        codec = self.codec(cls)
        envelope = Envelope(
            id=metadata.id,
            kind="event" if isinstance(message, Event) else "command",
            name=self.name(cls),
            version=traits(cls).version,
            topic=self.topic(cls),
            key=order_key(message) if key is None else key,
            source=self._source,
            time=metadata.time,
            correlation_id=metadata.correlation_id,
            causation_id=metadata.causation_id,
            headers={**metadata.headers, EXPIRY: expires.isoformat()} if expires else metadata.headers,
            content_type=codec.content_type,
            payload=codec.encode(message),
        )
        return self._packing.pack(envelope)

    def envelopes(self, published: Iterable[Published]) -> list[Envelope]:
        """Encode published events, in their order."""
        return [self.envelope(p.event, p.metadata, expires=_expiry(p)) for p in published]

    def decode(self, envelope: Envelope) -> Message:
        """
        Make the message of an envelope.

        Raises:
            UnknownMessage: if nobody here knows its name, or reads its format.
            NewerVersion: if a later release knows its version.
            InvalidPayload: if the payload does not fit the class, or an upcaster fails.
            ClaimMissing: if the payload is not where it was put.
        """
        cls = self.find(envelope.name)
        known = traits(cls).version
        if envelope.version > known:
            raise NewerVersion(
                f"{envelope.name} came in version {envelope.version}; this release knows it up to {known}: deploy "
                "consumers before producers"
            )
        envelope = self._packing.unpack(envelope)
        codec = self._codecs.reader(cls, envelope.name, envelope.content_type)
        if envelope.version < known and self._upcasters.knows(cls):
            return self._upcast(cls, envelope, codec)
        return codec.decode(cls, envelope.payload)

    def _upcast(self, cls: type[Message], envelope: Envelope, codec: Codec) -> Message:
        if not isinstance(codec, PlainCodec):
            raise UnknownMessage(
                f"{envelope.name} came in version {envelope.version} as {envelope.content_type}, which gives no plain "
                "data for its upcasters"
            )
        fields = codec.parse(cls, envelope.payload)
        return codec.structure(cls, self._upcasters.upcast(cls, fields, envelope.version))


def _expiry(published: Published) -> datetime | None:
    times = published.plan.times
    return None if times is None else expires_at(times.due, times.expires, published.metadata.time)


def order_key(message: Message) -> str:
    """Return the value of the field that a message is ordered by, as text; empty if it has none."""
    name = traits(type(message)).key
    if not name:
        return ""
    value: Any = getattr(message, name)
    key = "" if value is None else str(value)
    if len(key) > LONGEST:
        raise InvalidMessage(f"{type(message).__qualname__}: the key {name}={key[:40]!r}... is longer than {LONGEST}")
    return key


def _with_subclasses(classes: Iterable[type[Message]]) -> list[type[Message]]:
    """
    Return classes and all their subclasses, each once.

    attrs makes slotted classes twice; the first one is only a husk, which its successor, of the same module and
    qualified name, replaces.
    """
    found: dict[tuple[str, str], type[Message]] = {}
    waiting = list(dict.fromkeys(classes))
    registered, met = frozenset(waiting), set(waiting)
    for cls in waiting:  # which grows
        place = (cls.__module__, cls.__qualname__)
        if found.get(place) not in registered or cls in registered:
            found[place] = cls
        more = [c for c in cls.__subclasses__() if c not in met]
        waiting += more
        met.update(more)
    return list(found.values())


def _has_field(cls: type[Message], name: str) -> bool:
    return hasattr(cls, name) or any(name in vars(c).get("__annotations__", {}) for c in cls.__mro__)


def _path(cls: type[Message]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
