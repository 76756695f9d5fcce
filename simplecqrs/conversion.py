"""The cattrs converter that all JSON goes through: lossless one way, and nothing coerced the other way."""

from __future__ import annotations

import enum
import inspect
import math
import typing
from base64 import b64decode, b64encode
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from simplecqrs.hints import is_union
from simplecqrs.messages import Unset
from simplecqrs.validating import WrongValue, report_every_field

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

__all__ = ["Several", "converter"]

#: The collections that a JSON array becomes, by what they are annotated with.
ARRAYS: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Collection: list,
    abc.Iterable: list,
    abc.Set: frozenset,
    abc.MutableSet: set,
}
OBJECTS = (dict, abc.Mapping, abc.MutableMapping)


class Several(Exception):
    """Raised when items of a collection do not fit: the path of each, and what is wrong with it."""

    def __init__(self, errors: list[tuple[str, Exception]]) -> None:
        super().__init__(errors)
        self.errors = errors


@cache
def converter(*, strict: bool) -> JsonConverter:
    """Return the converter; made when first needed, since cattrs takes long to import."""
    from cattrs.preconf.json import make_converter

    made = make_converter(forbid_extra_keys=strict, omit_if_default=False)
    for kind in (int, str, bool, float):
        made.register_structure_hook(kind, partial(_exactly, kind))
    for kind, write, read in TEXTS:
        made.register_unstructure_hook(kind, write)
        made.register_structure_hook(kind, partial(_from_text, kind, read))
    made.register_unstructure_hook(timedelta, _total_seconds)
    made.register_structure_hook(timedelta, _seconds)
    made.register_structure_hook_factory(_is_array, partial(_array_hook, made))
    made.register_structure_hook_factory(_is_object, partial(_object_hook, made))
    made.register_structure_hook_func(_is_enum, _member)
    report_every_field(made)
    _omit_unset(made)
    return made


def _exactly(kind: type[Any], value: Any, target: Any) -> Any:
    """Accept a value of just this type: cattrs alone makes True of "false" and 2 of 2.9."""
    if type(value) is target:
        found = value
    elif type(value) is kind or (kind is float and type(value) is int):
        found = target(value) if isinstance(target, type) else value
    else:
        raise WrongValue(f"{kind.__name__} expected, not {type(value).__name__}")
    if kind is float and not math.isfinite(found):
        raise WrongValue("a finite number expected")
    return found


def _from_text(kind: type[Any], read: Callable[[str], Any], value: Any, _: Any) -> Any:
    if isinstance(value, str):
        try:
            return read(value)
        except WrongValue:
            raise
        except (ValueError, ArithmeticError):
            raise WrongValue(f"{kind.__name__} expected, not {value[:60]!r}") from None
    if type(value) is not kind:
        raise WrongValue(f"{kind.__name__} expected, as text")
    if kind is datetime:
        _refuse_naive(value)
    if kind is Decimal:
        _refuse_infinite(value)
    return value


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise WrongValue(f"Decimal expected, not {text[:60]!r}") from None
    _refuse_infinite(number)
    return number


def _decimal_text(number: Decimal) -> str:
    _refuse_infinite(number)
    return str(number)


def _refuse_infinite(number: Decimal) -> None:
    if not number.is_finite():
        raise WrongValue("a finite number expected")


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    _refuse_naive(moment)
    return moment


def _aware_text(moment: datetime) -> str:
    if moment.utcoffset() is None:
        raise ValueError(f"{moment!r} has no time zone; use datetime.now(timezone.utc)")
    return moment.isoformat()


def _refuse_naive(moment: datetime) -> None:
    if moment.utcoffset() is None:
        raise WrongValue("a time zone is missing")


def _seconds(value: Any, _: Any) -> timedelta:
    if type(value) is timedelta:
        return value
    if type(value) not in (int, float):
        raise WrongValue("seconds expected, as a number")
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError):
        raise WrongValue("seconds expected, fewer of them") from None


def _total_seconds(span: timedelta) -> float:
    seconds = span.total_seconds()
    if timedelta(seconds=seconds) != span:
        raise ValueError(f"{span!r} is too long to be written to the microsecond")
    return seconds


#: What is text in JSON: the type, how it is written, how it is read.
TEXTS: list[tuple[type[Any], Callable[[Any], str], Callable[[str], Any]]] = [
    (UUID, str, UUID),
    (Decimal, _decimal_text, _decimal),
    (datetime, _aware_text, _aware),
    (date, date.isoformat, date.fromisoformat),
    (time, time.isoformat, time.fromisoformat),
    (bytes, lambda data: b64encode(data).decode(), partial(b64decode, validate=True)),
]


def _is_array(kind: Any) -> bool:
    return (typing.get_origin(kind) or kind) in ARRAYS


def _array_hook(made: JsonConverter, kind: Any) -> Callable[[Any, Any], Any]:
    """Refuse what cattrs would take apart: the characters of a text, the keys of an object."""
    make = ARRAYS[typing.get_origin(kind) or kind]
    kinds: tuple[Any, ...] = typing.get_args(kind) or (Any, ...)
    fixed = make is tuple and kinds[-1] is not ...

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise WrongValue(f"a list expected, not {type(value).__name__}")
        items: list[Any] = list(cast("list[Any]", value))
        each: Sequence[Any] = kinds if fixed else [kinds[0]] * len(items)
        if len(items) != len(each):
            raise WrongValue(f"a list of {len(each)} expected, not of {len(items)}")
        pairs = enumerate(zip(items, each, strict=True))
        return make(_all((f"[{i}]", partial(made.structure, item, k)) for i, (item, k) in pairs))

    return hook


def _is_object(kind: Any) -> bool:
    return (typing.get_origin(kind) or kind) in OBJECTS


def _object_hook(made: JsonConverter, kind: Any) -> Callable[[Any, Any], Any]:
    """Read keys from text, as which JSON writes them all."""
    key_kind, item_kind = typing.get_args(kind) or (Any, Any)

    def hook(value: Any, _: Any) -> Any:
        items = value
        if not isinstance(value, Mapping):
            raise WrongValue(f"an object expected, not {type(items).__name__}")
        keys = _all((f"[{key!r}]", partial(_key, made, key, key_kind)) for key in items)
        found = _all((f"[{key!r}]", partial(made.structure, item, item_kind)) for key, item in items.items())
        return dict(zip(keys, found, strict=True))

    return hook


def _key(made: JsonConverter, key: Any, kind: Any) -> Any:
    if isinstance(key, str) and kind in (int, float):
        try:
            return kind(key)
        except ValueError:
            raise WrongValue(f"{kind.__name__} expected as key, not {key[:60]!r}") from None
    if isinstance(key, str) and _is_enum(kind):
        return _member(next((m.value for m in kind if str(m.value) == key), key), kind)
    return made.structure(key, kind)


def _is_enum(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, enum.Enum)


def _member(value: Any, kind: Any) -> Any:
    if isinstance(value, kind):
        return value
    for member in kind:
        if member.value == value and type(member.value) is type(value):
            return member
    raise WrongValue(f"one of {', '.join(repr(m.value) for m in kind)} expected"[:200])


def _all(calls: abc.Iterable[tuple[str, Callable[[], Any]]]) -> list[Any]:
    """Call them all, and raise what failed together."""
    found: list[Any] = []
    errors: list[tuple[str, Exception]] = []
    for path, call in calls:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001 - all of them are wanted
            errors.append((path, error))
    if errors:
        raise Several(errors)
    return found


def _omit_unset(made: JsonConverter) -> None:
    """Leave out the fields that are UNSET, so that they are UNSET again on the other side."""
    from cattrs.gen import make_dict_unstructure_fn, override

    def make(kind: Any) -> Callable[[Any], Any]:
        omitted: Any = {name: override(omit_if_default=True) for name in _unset_fields(kind)}
        return make_dict_unstructure_fn(kind, made, **omitted)

    made.register_unstructure_hook_factory(lambda kind: bool(_unset_fields(kind)), make)
    made.register_unstructure_hook(Unset, _refuse_unset)
    made.register_structure_hook_func(_may_be_unset, lambda value, kind: made.structure(value, _without_unset(kind)))


def _unset_fields(kind: Any) -> list[str]:
    if not hasattr(kind, "__attrs_attrs__") and not hasattr(kind, "__dataclass_fields__"):
        return []
    return [name for name, hint in typing.get_type_hints(kind).items() if _may_be_unset(hint)]


def _refuse_unset(_: Unset) -> Any:
    raise ValueError("UNSET can be left out only where it is the default: write field: Type | Unset = UNSET")


def _may_be_unset(kind: Any) -> bool:
    return is_union(kind) and Unset in typing.get_args(kind)


def _without_unset(kind: Any) -> Any:
    rest = tuple(t for t in typing.get_args(kind) if t is not Unset)
    return typing.Union[rest]  # noqa: UP007 - made at run time
