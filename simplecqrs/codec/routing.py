"""Which codec writes and reads which message class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from simplecqrs.codec.port import Codec
from simplecqrs.errors import NotConfigured, UnknownMessage
from simplecqrs.log_fields import printable
from simplecqrs.messages import Message

__all__ = ["CodecRoutes", "Codecs", "media_type"]

#: A codec for a message class, its subclasses included, or for a pattern of names, as ``"audit.*"``.
Codecs = Mapping["type[Message] | str", Codec]


class CodecRoutes:
    """
    Find the codec of a message class: its own, that of its nearest base, that of its name, or the default.

    Of several patterns that fit a name, the one with most literal text counts.

    Raises:
        NotConfigured: if something else than a codec was given for a message class or a pattern.
    """

    def __init__(self, default: Codec, codecs: Codecs | None = None) -> None:
        routes: Mapping[Any, Any] = codecs or {}
        for key, codec in (("*", default), *routes.items()):
            _check(key, codec)
        self.default = default
        self._classes: dict[type[Message], Codec] = {k: c for k, c in routes.items() if isinstance(k, type)}
        self._patterns: dict[str, Codec] = {k: c for k, c in routes.items() if isinstance(k, str)}

    def writer(self, kind: type[Message], name: str) -> Codec:
        """Return the codec that encodes messages of a class."""
        if not self._classes and not self._patterns:
            return self.default
        for base in kind.__mro__:
            if base in self._classes:
                return self._classes[base]
        fitting = [p for p in self._patterns if fnmatchcase(name, p)]
        if not fitting:
            return self.default
        return self._patterns[max(fitting, key=lambda p: (p == name, len(p.replace("*", ""))))]

    def reader(self, kind: type[Message], name: str, content_type: str) -> Codec:
        """
        Return the codec that decodes messages of a class that came in a format.

        The default one reads what was written before the class had a codec of its own.

        Raises:
            UnknownMessage: if none of the two reads the format.
        """
        codecs = list(self._readers(kind, name))
        for codec in codecs:
            if content_type == codec.content_type or media_type(content_type) == media_type(codec.content_type):
                return codec
        reads = " and ".join(dict.fromkeys(codec.content_type for codec in codecs))
        came = printable(content_type) or "nothing at all"
        raise UnknownMessage(f"{name} came as {came}; this project reads {reads}")

    def _readers(self, kind: type[Message], name: str) -> Iterator[Codec]:
        yield self.writer(kind, name)
        yield self.default


def media_type(content_type: str) -> str:
    """Return a content type without its parameters: JSON is UTF-8, whether they say so or not."""
    return content_type.partition(";")[0].strip().lower()


def _check(key: object, codec: object) -> None:
    if not isinstance(key, str) and not (isinstance(key, type) and issubclass(key, Message)):
        raise NotConfigured(f"codecs: {key!r} is neither a message class nor a pattern of names, as 'audit.*'")
    if isinstance(codec, type) or not isinstance(codec, Codec):
        name = key if isinstance(key, str) else key.__qualname__
        cure = f"; make one: {codec.__name__}(...)" if isinstance(codec, type) else ""
        raise NotConfigured(f"the codec of {name}, {codec!r}, has no content_type, encode and decode{cure}")
