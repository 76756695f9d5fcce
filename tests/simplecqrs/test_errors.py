"""The tree of errors, as drawn and as it is."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from simplecqrs import errors
from simplecqrs.errors import CQRSError, InvalidPayload, MissingExtra, NotConfigured

ALL = [getattr(errors, name) for name in errors.__all__]


def drawn() -> dict[str, tuple[str, str]]:
    """Return the tree in the docstring: name to parent and builtin."""
    found: dict[str, tuple[str, str]] = {}
    above: list[tuple[int, str]] = [(0, "CQRSError")]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"(\s*[│ ]*)[├└]── (\w+)(?:\s+\((\w+)\))?", line)
        if match is None:
            continue
        indent, name, builtin = len(match[1]), match[2], match[3] or ""
        while above[-1][0] > indent - 1 and len(above) > 1:
            above.pop()
        found[name] = (above[-1][1], builtin)
        above.append((indent, name))
    return found


def test_the_drawing_shows_every_error_and_no_other() -> None:
    """Whoever adds an error draws it."""
    assert {*drawn(), "CQRSError"} == set(errors.__all__)


@pytest.mark.parametrize("name", drawn(), ids=str)
def test_an_error_is_where_it_is_drawn(name: str) -> None:
    """Its parent in the tree is its first base; its builtin is its second one."""
    parent, builtin = drawn()[name]
    error = getattr(errors, name)

    assert error.__bases__[0].__name__ == parent
    assert [base.__name__ for base in error.__bases__[1:]] == ([builtin] if builtin else [])


@pytest.mark.parametrize("error", ALL, ids=lambda e: e.__name__)
def test_every_error_is_a_cqrs_error_and_says_when_it_is_raised(error: type[Exception]) -> None:
    """So that one ``except`` catches all."""
    assert issubclass(error, CQRSError)
    assert "Raised " in (error.__doc__ or "") or error is CQRSError


def test_all_is_complete_and_sorted() -> None:
    """What is defined is exported."""
    defined = [n for n, v in vars(errors).items() if inspect.isclass(v) and v.__module__ == errors.__name__]

    assert sorted(defined) == list(errors.__all__)


def test_an_invalid_payload_holds_its_errors() -> None:
    """As path and reason."""
    error = InvalidPayload("this makes no Place", [("lines[0].sku", "required, and missing")])

    assert error.errors == (("lines[0].sku", "required, and missing"),)
    assert isinstance(error, ValueError)


def test_not_configured_lists_its_problems() -> None:
    """In its text, one per line, and as an attribute."""
    error = NotConfigured("the wiring cannot work:", ["a", "b"])

    assert str(error) == "the wiring cannot work:\n- a\n- b"
    assert error.problems == ("a", "b")


def test_a_missing_extra_says_what_to_install() -> None:
    """As a command."""
    error = MissingExtra("RedisStreams", "redis")

    assert str(error) == "RedisStreams needs a library that is not installed: pip install 'simplecqrs[redis]'"
    assert error.extra == "redis"
    assert isinstance(error, ImportError)


@pytest.mark.parametrize(
    "error",
    [
        InvalidPayload("no", [("a", "b")]),
        NotConfigured("no", ["a"]),
        MissingExtra("RedisStreams", "redis"),
        errors.HandlerNotFound("no"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_errors_survive_pickling(error: CQRSError) -> None:
    """Celery and multiprocessing send them between processes."""
    found = pickle.loads(pickle.dumps(error))

    assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))
