"""What people may see of payloads, headers and errors' texts: the values of sensitive names are masked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, cast, get_args

from simplecqrs.fields import fields_of
from simplecqrs.log_fields import printable
from simplecqrs.middlewares.masking import Hidden, marks_of, shown_fields
from simplecqrs.packing.compression import READERS, opened

__all__ = ["MASKED", "SHOWN", "masked_text", "secret_names", "shown_payload"]

#: What stands in the place of a value that is not shown.
MASKED: Final = "***"
#: Characters that are shown unless all are asked for.
SHOWN: Final = 4000
#: Bytes of JSON that is looked through for names; what is larger is not shown.
LARGEST: Final = 4 * 1024 * 1024
#: A name with what joins it to its value, and a value: quoted, in brackets, behind the word of an Authorization
#: header, or bare.
NAME: Final = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]*)\\*[\"']?\s*[=:]\s*")
VALUE: Final = re.compile(
    r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|\\+\"[^\"\n]*\"|\w*\([^()]*\)|\[[^]]*\]|\{[^}]*\}"
    r"|(?i:(?:bearer|basic)\s+)?[^\s,;&)}\]\"']+"
)


def shown_payload(
    payload: bytes,
    content_type: str,
    hidden: Hidden,
    *,
    kind: Any = None,
    decode: Callable[[], object] | None = None,
    most: int = SHOWN,
    indent: int | None = None,
) -> str:
    """
    Return a payload as people may see it.

    JSON is shown without the values of hidden names, at any depth.  What is none is decoded, and the fields of its
    message are shown; where nobody can do that, only its size and its hash.

    Args:
        kind: the class of its message: names that are marked ``repr=False`` there are hidden as well.
        decode: makes the message of what is no JSON; may raise whatever it likes.
        most: characters that are shown; 0: all.
        indent: spaces per level of JSON.  Default: it is one line.
    """
    if is_json(content_type):
        secrets = secret_names(kind) if kind is not None else frozenset[str]()
        told = _shown_json(opened(payload, content_type), _either(secrets, hidden), indent)
    else:
        told = _decoded(decode, hidden)
    text, problem = told
    if problem:
        digest = hashlib.sha256(payload).hexdigest()
        return f"{problem}: {len(payload):,} bytes of {content_type or 'no known format'}, SHA-256 {digest}"
    cut = most and len(text) > most
    return f"{text[:most]} ... {len(text):,} characters in all" if cut else text


def is_json(content_type: str) -> bool:
    """Tell whether a content type says that it is JSON, compressed or not."""
    media = content_type.partition(";")[0].strip().lower()
    plain, _, suffix = media.rpartition("+")
    media = plain if suffix in READERS else media
    return media in {"application/json", "text/json"} or media.endswith("+json")


def masked_text(text: str, hidden: Hidden) -> str:
    """
    Return a text without the values that follow hidden names, as in ``password='x'`` or ``"token": "x"``.

    It knows no value without its name: a text that somebody writes freely may still tell what it should not.

    >>> masked_text("Login(user='ada', password='x y') failed", lambda name: name == "password")
    "Login(user='ada', password=***) failed"
    """
    found, done = list[str](), 0
    while (name := NAME.search(text, done)) is not None:
        found.append(text[done : name.end()])
        value = VALUE.match(text, name.end()) if hidden(name[1]) else None
        done = name.end()
        if value is not None:
            found.append(MASKED)
            done = value.end()
    return "".join((*found, text[done:]))


def _either(secrets: frozenset[str], hidden: Hidden) -> Hidden:
    @cache
    def is_hidden(name: str) -> bool:
        return name in secrets or hidden(name)

    return is_hidden


@cache
def secret_names(kind: Any) -> frozenset[str]:
    """Return the names of fields that a class, or one that it is made of, marks as not to be shown as they are."""
    found: set[str] = set()
    waiting: list[Any] = [kind]
    seen: set[int] = set()
    for hint in waiting:  # which grows
        if id(hint) in seen:
            continue
        seen.add(id(hint))
        waiting += get_args(hint)
        marks = marks_of(hint) if isinstance(hint, type) else ()
        if marks:
            found.update(name for name, show in marks if show is not True)
            waiting += fields_of(hint).values()
    return frozenset(found)


def _shown_json(payload: bytes, hidden: Hidden, indent: int | None) -> tuple[str, str]:
    """Return JSON without what is hidden, and what is wrong with it."""
    if len(payload) > LARGEST:
        return "", "too large to be looked through"
    try:
        data = _without(json.loads(payload), hidden)
        return printable(json.dumps(data, ensure_ascii=False, indent=indent), keep="\n"), ""
    except (ValueError, RecursionError) as error:
        return "", f"not readable as JSON ({type(error).__name__})"


def _without(data: Any, hidden: Hidden) -> Any:
    if isinstance(data, dict):
        items = cast("dict[str, Any]", data).items()
        return {name: MASKED if hidden(name) else _without(value, hidden) for name, value in items}
    if isinstance(data, list):
        return [_without(value, hidden) for value in cast("Sequence[Any]", data)]
    return _without_inside(data, hidden) if isinstance(data, str) and data[:1] in {"{", "["} else data


def _without_inside(text: str, hidden: Hidden) -> str:
    """Mask JSON that is a text inside of JSON."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return masked_text(text, hidden)
    masked = _without(data, hidden)
    return text if masked == data else json.dumps(masked, ensure_ascii=False)


def _decoded(decode: Callable[[], object] | None, hidden: Hidden) -> tuple[str, str]:
    """Return the fields of a message, and why it cannot be decoded."""
    if decode is None:
        return "", "not decoded"
    try:
        message = decode()
        fields = shown_fields(message, hidden)
    except Exception as error:  # noqa: BLE001 - it came from outside, and is only looked at
        return "", f"not decoded ({type(error).__name__})"
    text = ", ".join(f"{name}={value}" for name, value in fields.items())
    return printable(f"{type(message).__name__}({text})", keep="\n"), ""
