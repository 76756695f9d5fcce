"""Arrays and objects: lists, tuples, sets and dicts of whatever their type hints say."""

from __future__ import annotations

import typing
from collections import abc
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from simplecqrs.conversion.problems import WrongValue, collect
from simplecqrs.conversion.scalars import enum_member, is_enum

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["add_nesting", "is_array", "is_object"]

Hook = Callable[[Any, Any], Any]
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


def add_nesting(made: Converter, *, explains: bool) -> None:
    """Teach a converter arrays and objects; one that explains goes on after a wrong item, to find them all."""
    made.register_structure_hook_factory(is_array, partial(_array_hook, made, explains))
    made.register_structure_hook_factory(is_object, partial(_object_hook, made, explains))


def is_array(kind: Any) -> bool:
    """Tell whether a type is an array in JSON."""
    return (typing.get_origin(kind) or kind) in ARRAYS


def is_object(kind: Any) -> bool:
    """Tell whether a type is a mapping."""
    return (typing.get_origin(kind) or kind) in OBJECTS


def _array_hook(made: Converter, explains: bool, kind: Any) -> Hook:  # noqa: FBT001 - bound by a partial
    """Refuse what cattrs would take apart: the characters of a text, the keys of an object."""
    make = ARRAYS[typing.get_origin(kind) or kind]
    kinds: tuple[Any, ...] = typing.get_args(kind) or (Any, ...)
    fixed = make is tuple and kinds[-1] is not ...

    def each(value: Any, _: Any) -> Any:
        items = _items(value)
        wanted: Sequence[Any] = kinds if fixed else [kinds[0]] * len(items)
        if len(items) != len(wanted):
            raise WrongValue(f"a list of {len(wanted)} expected, not of {len(items)}")
        pairs = enumerate(zip(items, wanted, strict=True))
        return _made(make, collect((f"[{i}]", partial(made.structure, item, k)) for i, (item, k) in pairs))

    if explains or fixed or make is not list:
        return each
    item_kind, read = kinds[0], _Later(made, kinds[0])

    def quick(value: Any, _: Any) -> Any:
        hook = read.hook or read.find()
        return [hook(item, item_kind) for item in _items(value)]

    return quick


class _Later:
    """A hook that is asked for at its first use: a class may hold lists of itself."""

    __slots__ = ("_kind", "_made", "hook")

    def __init__(self, made: Converter, kind: Any) -> None:
        self._made, self._kind = made, kind
        self.hook: Hook | None = None

    def find(self) -> Hook:
        found: Hook = self._made.get_structure_hook(self._kind)
        self.hook = found
        return found


def _items(value: Any) -> Collection[Any]:
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise WrongValue(f"a list expected, not {type(value).__name__}")
    return cast("list[Any]", value)


def _made(make: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    try:
        return make(items)
    except TypeError:  # a set of dicts
        raise WrongValue("its items cannot be in a set") from None


def _object_hook(made: Converter, explains: bool, kind: Any) -> Hook:  # noqa: FBT001 - bound by a partial
    """Read keys from text, as which JSON writes them all."""
    key_kind, item_kind = typing.get_args(kind) or (Any, Any)

    def each(value: Any, _: Any) -> Any:
        items = _mapping(value)
        keys = collect((f"[{key!r}]", partial(_key, made, key, key_kind)) for key in items)
        found = collect((f"[{key!r}]", partial(made.structure, item, item_kind)) for key, item in items.items())
        return dict(zip(keys, found, strict=True))

    if explains:
        return each
    read = _Later(made, item_kind)

    def quick(value: Any, _: Any) -> Any:
        hook = read.hook or read.find()
        return {_key(made, key, key_kind): hook(item, item_kind) for key, item in _mapping(value).items()}

    return quick


def _mapping(value: Any) -> abc.Mapping[Any, Any]:
    if not isinstance(value, abc.Mapping):
        raise WrongValue(f"an object expected, not {type(value).__name__}")
    return cast("dict[Any, Any]", value)


def _key(made: Converter, key: Any, kind: Any) -> Any:
    if isinstance(key, str) and kind is not str:
        if kind in (int, float):
            return _number(key, kind)
        if kind is bool and key in ("true", "false"):
            return key == "true"
        if is_enum(kind):
            return _member_as_key(key, kind)
    return made.structure(key, kind)


def _member_as_key(key: str, kind: Any) -> Any:
    return enum_member(next((m.value for m in kind if str(m.value) == key), key), kind)


def _number(key: str, kind: Any) -> Any:
    try:
        return kind(key)
    except ValueError:
        raise WrongValue(f"{kind.__name__} expected as key, not {key[:60]!r}") from None
