"""What a handler publishes, sends and begins, as far as its source and its signature show it."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

from simplecqrs.hints import call_of, classes_in, hints_of
from simplecqrs.messages import Event, Message, Request, Stream
from simplecqrs.saga import Saga

__all__ = ["begun_by", "published_by", "sent_by"]

#: Names of methods whose argument is an event, and those whose argument is a request or a stream.
PUBLISHING, SENDING = ("publish",), ("send", "stream", "defer")
#: Those of sagas that begin one.
BEGINNING = ("start", "run", "steps")


def published_by(handler: Any) -> list[type[Event]]:
    """
    Return the events that a function or a class publishes, as far as one can see.

    One sees classes that are called inside of ``publish(...)``, whatever the handler's second parameter is called, or
    whose result has a name in the same function that is published; those of all methods, if it is a class; and classes
    in the type of the second parameter, as in ``Callable[[OrderPlaced], None]``.

    One does not see what is published by functions and objects that the handler calls, an event that it was given, or
    a class that was computed.  Also, what is written is not always done.
    """
    found = [cls for function in _functions(handler) for cls in _messages_in(function, PUBLISHING)]
    return _distinct(Event, [*_annotated(handler), *found])


def sent_by(handler: Any) -> list[type[Message]]:
    """Return the requests and streams that a function or a class sends or defers, with the limits of published_by."""
    found = [cls for function in _functions(handler) for cls in _messages_in(function, SENDING)]
    return _distinct((Request, Stream), found)


def begun_by(handler: Any) -> list[Saga[Any]]:
    """Return the sagas that a function or a class starts or runs, if they have a name in its module."""
    found: list[Saga[Any] | None] = [
        _resolve(call.func.value, known)
        for function in _functions(handler)
        for tree, known in _parsed(function)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in BEGINNING
    ]
    return list(dict.fromkeys(saga for saga in found if isinstance(saga, Saga)))


def _distinct(kinds: Any, found: list[Any]) -> list[Any]:
    return list(dict.fromkeys(cls for cls in found if isinstance(cls, type) and issubclass(cls, kinds)))


def _functions(handler: Any) -> Iterator[Callable[..., Any]]:
    """Give the functions whose source is the handler's."""
    while isinstance(handler, partial):
        handler = handler.func
    if isinstance(handler, type):
        own = [cls for cls in handler.__mro__ if not cls.__module__.startswith("simplecqrs.") and cls is not object]
        methods = {name: value for cls in reversed(own) for name, value in vars(cls).items()}
        yield from (inspect.unwrap(value) for value in methods.values() if inspect.isfunction(value))
    elif inspect.isfunction(handler) or inspect.ismethod(handler):
        yield inspect.unwrap(handler)
    elif inspect.isfunction(call_of(handler)):
        yield call_of(handler)


def _annotated(handler: Any) -> Iterator[Any]:
    """Give the classes that the type of the second parameter takes."""
    if isinstance(handler, type) or not callable(handler):
        return
    hint = hints_of(handler).get(_publish_name(handler))
    arguments = getattr(hint, "__args__", ())
    if arguments and getattr(hint, "__origin__", None) is Callable:
        yield from (cls for cls in classes_in(arguments[0]) or () if cls.__module__ != Event.__module__)


def _publish_name(function: Any) -> str:
    """Return what a function calls its second parameter, which is publish."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return ""
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return positional[1] if len(positional) > 1 and positional[0] != "self" else ""


def _parsed(function: Any) -> Iterator[tuple[ast.AST, Mapping[str, Any]]]:
    """Give a function's source, and what names mean in it; nothing, if it has none that can be read."""
    code = getattr(function, "__func__", function).__code__
    if code not in _trees:
        _trees[code] = _tree(function)
    tree = _trees[code]
    if tree is not None:
        yield tree, {**_names_of(function), **_imported(tree)}


def _tree(function: Any) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # there is none, or it is part of an expression
        return None


#: Sources that were read: each is asked for several times.
_trees: WeakKeyDictionary[CodeType, ast.AST | None] = WeakKeyDictionary()


def _messages_in(function: Any, methods: tuple[str, ...]) -> Iterator[Any]:
    """Give what is called inside of calls of these names."""
    names = (*methods, _publish_name(function)) if methods is PUBLISHING else methods
    for tree, known in _parsed(function):
        yield from _arguments(tree, names, known)


def _arguments(tree: ast.AST, names: tuple[str, ...], known: Mapping[str, Any]) -> Iterator[Any]:
    kept = _assigned(tree)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _called(call) in names:
            for argument in call.args:
                for made in _made(kept.get(argument.id, argument) if isinstance(argument, ast.Name) else argument):
                    yield _resolve(made, known)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _assigned(tree: ast.AST) -> dict[str, ast.expr]:
    """Return what has been given a name."""
    return {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _made(expression: ast.AST) -> Iterator[ast.expr]:
    """Give what is called in an expression, and in what is handed to it: times are put around events."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Call):
            yield node.func


def _names_of(function: Any) -> Mapping[str, Any]:
    """Return what names mean in a function: global ones, and those of the functions around it."""
    function = getattr(function, "__func__", function)
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    around = {}
    for name, cell in cells:
        try:
            around[name] = cell.cell_contents
        except ValueError:  # it has no value yet
            continue
    return {**function.__globals__, **around}


def _imported(tree: ast.AST) -> dict[str, Any]:
    """Return what a function imports for itself, of modules that are there already."""
    return {
        alias.asname or alias.name: getattr(sys.modules[node.module], alias.name, None)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in sys.modules
        for alias in node.names
    }


def _resolve(expression: ast.expr, known: Mapping[str, Any]) -> Any:
    """Return what a name, or a name of a module, means; None if nobody knows without running something."""
    if isinstance(expression, ast.Name):
        return known.get(expression.id)
    if isinstance(expression, ast.Attribute):
        owner = _resolve(expression.value, known)
        return vars(owner).get(expression.attr) if inspect.ismodule(owner) or isinstance(owner, type) else None
    return None
