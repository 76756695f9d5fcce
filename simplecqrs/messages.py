"""The messages: commands, queries, streams and events."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from attrs import frozen

from simplecqrs.errors import InvalidMessage

__all__ = [
    "UNSET",
    "Command",
    "DomainEvent",
    "ECSTEvent",
    "Event",
    "IntegrationEvent",
    "Message",
    "NotificationEvent",
    "Permission",
    "Query",
    "Request",
    "Stream",
    "Traits",
    "Unset",
    "message",
    "traits",
]

R_co = TypeVar("R_co", covariant=True)
C = TypeVar("C", bound="type[Message]")

#: What somebody must have to give a message: a name, or a function of the user and the message.
Permission = str | Callable[[Any, Any], object]

#: The longest name, topic and order key, in characters: what the tables hold.
LONGEST: Final = 200


def _mark(cls: type[Any], *, name: object, version: object, topic: object, key: object, permission: object) -> None:
    """
    Write the keywords into the class's own namespace.

    attrs and slotted dataclasses create a class twice, the second time from the first one's namespace and
    without keywords: what was written there survives, and what is None must not overwrite it.
    """
    for keyword, value in (("name", name), ("topic", topic), ("key", key)):
        if value is None:
            continue
        if not isinstance(value, str) or not value or len(value) > LONGEST:
            raise InvalidMessage(
                f"{cls.__qualname__}: {keyword}={value!r} must be a string of 1 to {LONGEST} characters"
            )
        setattr(cls, f"__cqrs_{keyword}__", value)
    if version is not None:
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise InvalidMessage(f"{cls.__qualname__}: version={version!r} must be an int from 1")
        setattr(cls, "__cqrs_version__", version)  # noqa: B010 - mypy knows no such attribute
    if permission is not None:
        _mark_permission(cls, permission)


def _mark_permission(cls: type[Any], permission: object) -> None:
    if issubclass(cls, Event):
        raise InvalidMessage(f"{cls.__qualname__}: permission= is for what is asked for; an event has happened")
    if not callable(permission) and not (isinstance(permission, str) and permission.strip()):
        raise InvalidMessage(
            f"{cls.__qualname__}: permission={permission!r} must be a name, or a function (user, message) -> bool"
        )
    setattr(cls, "__cqrs_permission__", permission)  # noqa: B010 - mypy knows no such attribute


class Message:
    """
    Base of every message.  It has no fields; decorate subclasses with ``@attrs.frozen``.

    What is about a message and not of its domain is said by class keywords, all of them optional:

    Args:
        name: what it is called on the wire and in tables.  Default: the class's name.
        version: of its fields, an int from 1.
        topic: picks stream, exchange and route.  Default: the name.  Inherited.
        key: the field by which events keep their order.  Inherited.
        permission: what is needed to give a command, a query or a stream; the mediator's ``permits`` sees to it.
            Inherited.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # so that checkers see a misspelt keyword

        def __init_subclass__(
            cls,
            *,
            name: str | None = None,
            version: int | None = None,
            topic: str | None = None,
            key: str | None = None,
            permission: Permission | None = None,
        ) -> None: ...

    else:

        def __init_subclass__(cls, *, name=None, version=None, topic=None, key=None, permission=None, **others):
            try:
                super().__init_subclass__(**others)
            except TypeError as error:
                if not others:
                    raise
                raise InvalidMessage(_unknown_keywords(cls, others)) from error
            _mark(cls, name=name, version=version, topic=topic, key=key, permission=permission)


def _unknown_keywords(cls: type[Any], keywords: Mapping[str, object]) -> str:
    from difflib import get_close_matches

    known = ("name", "version", "topic", "key", "permission")
    close = [match for keyword in keywords for match in get_close_matches(keyword, known, n=1)]
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"{cls.__qualname__}: unknown class keyword {', '.join(map(repr, keywords))}; {hint}"


class Request(Message, Generic[R_co]):
    """Base of what has exactly one handler and an answer of the type ``R_co``."""

    __slots__ = ()


class Command(Request[R_co]):
    """Change something.  ``bus.send(command)`` returns its handler's answer."""

    __slots__ = ()


class Query(Request[R_co]):
    """Look something up.  A query changes nothing and publishes nothing."""

    __slots__ = ()


class Stream(Message, Generic[R_co]):
    """
    Be answered item by item, each of the type ``R_co``.  ``bus.stream(stream)`` iterates.

    It reads, as a query does, unless its handler is registered with ``transaction=``.
    """

    __slots__ = ()


class Event(Message):
    """Base of what has happened."""

    __slots__ = ()


class DomainEvent(Event):
    """Tell what has happened, for this project alone."""

    __slots__ = ()


class IntegrationEvent(Event):
    """Tell what has happened, for others as well: it goes to its handlers and to the publisher."""

    __slots__ = ()


class NotificationEvent(IntegrationEvent):
    """Tell that something has happened: "order 7 was placed"."""

    __slots__ = ()


class ECSTEvent(IntegrationEvent):
    """Carry the whole new state: "order 7 is now ..." (event-carried state transfer)."""

    __slots__ = ()


class Unset(enum.Enum):
    """The type of ``UNSET``."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


#: Says "leave unchanged" in a partial update, where ``None`` would say "empty it".  Codecs omit it.
UNSET: Final = Unset.UNSET


@frozen(eq=False, repr=False)  # each method that attrs writes costs at import
class Traits:
    """What a message class says about itself by class keywords; what it leaves open is empty."""

    name: str
    version: int
    topic: str
    key: str
    permission: Permission | None


def traits(cls: type[Message]) -> Traits:
    """Return what a message class says about itself by the class keywords of ``Message``."""
    found = _traits.get(cls)
    if found is None:
        found = _traits[cls] = _read_traits(cls)
    return found


_traits: WeakKeyDictionary[type[Message], Traits] = WeakKeyDictionary()


def _read_traits(cls: type[Message]) -> Traits:
    own = vars(cls)
    return Traits(
        name=own.get("__cqrs_name__", ""),
        version=own.get("__cqrs_version__", 1),
        topic=getattr(cls, "__cqrs_topic__", ""),
        key=getattr(cls, "__cqrs_key__", ""),
        permission=getattr(cls, "__cqrs_permission__", None),
    )


def message(
    *,
    name: str | None = None,
    version: int | None = None,
    topic: str | None = None,
    key: str | None = None,
    permission: Permission | None = None,
) -> Callable[[C], C]:
    """Say by a decorator what class keywords say, for classes whose metaclass refuses keywords."""

    def mark(cls: C) -> C:
        _traits.pop(cls, None)
        _mark(cls, name=name, version=version, topic=topic, key=key, permission=permission)
        return cls

    return mark
