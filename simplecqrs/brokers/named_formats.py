"""Wire formats by name, as settings give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

from simplecqrs.brokers.cloudevents import CloudEventsBinary, CloudEventsStructured
from simplecqrs.brokers.diator import Diator
from simplecqrs.brokers.formats import WireFormat
from simplecqrs.brokers.python_cqrs import PythonCQRS
from simplecqrs.errors import NotConfigured

__all__ = ["named_format"]

#: Makes a format of the prefix that attributes have on the wire of a broker.
FORMATS: Final[Mapping[str, Callable[[str], WireFormat]]] = {
    "cloudevents": lambda prefix: CloudEventsBinary(prefix=prefix),
    "cloudevents-structured": lambda _: CloudEventsStructured(),
    "python-cqrs": lambda _: PythonCQRS(),
    "diator": lambda _: Diator(),
}


def named_format(name: str | WireFormat, /, *, prefix: str) -> WireFormat:
    """
    Return the wire format of a name; an object that is one is returned as it is.

    Args:
        prefix: of attributes on the wire of the broker.

    Raises:
        NotConfigured: if there is no such format.
    """
    if isinstance(name, str):
        if name in FORMATS:
            return FORMATS[name](prefix)
        close = get_close_matches(name.lower().replace("_", "-"), FORMATS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(FORMATS)}"
        raise NotConfigured(f"format={name!r}: there is no wire format of that name; {hint}")
    if isinstance(name, type) or not (callable(getattr(name, "read", None)) and callable(getattr(name, "write", None))):
        raise NotConfigured(f"format={name!r}: give a name ({', '.join(FORMATS)}) or an object with write and read")
    return name
