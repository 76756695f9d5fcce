"""Upcasters: from the fields of an older version of a message to those of the next."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from simplecqrs.errors import InvalidPayload, NotConfigured, UnknownMessage
from simplecqrs.messages import Message, traits

__all__ = ["Upcaster", "Upcasters", "default_upcasters", "upcasts"]

#: From the plain data of one version to that of the next: dicts, lists, text, numbers, True, False and None.
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
U = TypeVar("U", bound=Upcaster)


class Upcasters:
    """
    Holds the upcasters of message classes, each from one version to the next.

    A class without any reads older versions as they are: fields that were added have defaults.
    """

    def __init__(self) -> None:
        self._steps: dict[type[Message], dict[int, Upcaster]] = {}

    def upcasts(self, message: type[Message], /, *, version: int) -> Callable[[U], U]:
        """
        Register the decorated function, which makes the fields of ``version + 1`` of those of ``version``.

        Args:
            version: the one that the function takes.

        Raises:
            NotConfigured: at once, if the version has an upcaster already, or is not below that of the class.
        """

        def register(upcaster: U) -> U:
            self._add(message, version, upcaster)
            return upcaster

        return register

    def _add(self, message: type[Message], version: int, upcaster: Upcaster) -> None:
        steps, current = self._steps.get(message, {}), traits(message).version
        what = f"{_name(upcaster)} cannot upcast version {version!r} of {message.__qualname__}"
        if inspect.iscoroutinefunction(upcaster):
            raise NotConfigured(f"{what}: it is async; write def")
        if version in steps:
            raise NotConfigured(f"{what}: {_name(steps[version])} does so already")
        if version not in range(1, current):
            cure = f"give it the version after the change: version={current + 1}"
            raise NotConfigured(f"{what}: the class is of version {current}; {cure}")
        self._steps[message] = {**steps, version: upcaster}

    def include(self, other: Upcasters) -> None:
        """Take over all upcasters of others."""
        for message, steps in other._steps.items():
            for version, upcaster in steps.items():
                self._add(message, version, upcaster)

    def knows(self, message: type[Message]) -> bool:
        """Tell whether a message class has upcasters."""
        return message in self._steps

    def problems(self, message: type[Message]) -> list[str]:
        """Return the versions of a message class that its upcasters lead to and nothing leads on from."""
        steps = self._steps.get(message)
        if not steps:
            return []
        gaps = [v for v in range(min(steps), traits(message).version) if v not in steps]
        name = message.__qualname__
        return [f"{name} has no upcaster from version {v}: write one, @upcasts({name}, version={v})" for v in gaps]

    def upcast(self, message: type[Message], fields: Any, version: int) -> dict[str, Any]:
        """
        Return the fields of an older version as those of the class's own version.

        Raises:
            InvalidPayload: if an upcaster fails; it is named.
            UnknownMessage: if no upcaster takes this version.
        """
        if not isinstance(fields, dict):
            raise InvalidPayload(f"{message.__qualname__}: an object with its fields was expected", [("", "no object")])
        found = cast("dict[str, Any]", fields)
        for step in range(version, traits(message).version):
            upcaster = self._steps.get(message, {}).get(step)
            if upcaster is None:
                name = message.__qualname__
                raise UnknownMessage(
                    f"{name} came in version {version}; nothing leads on from version {step}: write an upcaster, "
                    f"@upcasts({name}, version={step})"
                )
            found = _called(upcaster, found, f"version {step} of {message.__qualname__}")
        return found


def _called(upcaster: Upcaster, fields: dict[str, Any], what: str) -> dict[str, Any]:
    try:
        found: Any = upcaster(fields)
    except Exception as error:
        reason = f"the upcaster {_name(upcaster)} failed on {what}: {type(error).__name__}: {error}"
        raise InvalidPayload(reason, [("", reason)]) from error
    if not isinstance(found, dict):
        reason = f"the upcaster {_name(upcaster)} returned {type(found).__name__} for {what}; return the dict"
        raise InvalidPayload(reason, [("", reason)])
    return cast("dict[str, Any]", found)


def _name(upcaster: Upcaster) -> str:
    return f"{getattr(upcaster, '__module__', '')}.{getattr(upcaster, '__qualname__', repr(upcaster))}"


#: The upcasters behind the module-level ``upcasts``, for projects that need no other.
default_upcasters = Upcasters()
upcasts = default_upcasters.upcasts
