"""The package as a whole: what it exports, and what importing it does."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import simplecqrs

#: Adapters need their library, and are tested with it.
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(simplecqrs.__path__, "simplecqrs.")
    if not module.name.startswith("simplecqrs.brokers")
)

PROBE = """
import sys, json, os
import attrs
opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        opened.append(os.fsdecode(arguments[0]))
    if event in ("socket.connect", "subprocess.Popen", "os.system"):
        opened.append(event)
import logging
before = {name: logger.level for name, logger in logging.root.manager.loggerDict.items() if hasattr(logger, "level")}
root = (logging.root.level, list(logging.root.handlers))
environ = dict(os.environ)
loaded = set(sys.modules)
sys.addaudithook(watch)
import simplecqrs
after = {name: logger.level for name, logger in logging.root.manager.loggerDict.items() if hasattr(logger, "level")}
print(json.dumps({
    "loaded": sorted(set(sys.modules) - loaded),
    "opened": opened,
    "levels": {name: level for name, level in after.items() if level and before.get(name) != level},
    "root": (logging.root.level, len(logging.root.handlers)) == (root[0], len(root[1])),
    "environ": environ == dict(os.environ),
}))
"""


def probe() -> Any:
    """Import simplecqrs in a fresh process and return what that did."""
    environment = {**os.environ, "PYTHONPATH": str(Path(simplecqrs.__path__[0]).parent)}
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def plain_imports() -> set[str]:
    """Return what is loaded by importing simplecqrs alone, attrs included."""
    code = "import simplecqrs, sys; print(' '.join(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(Path(simplecqrs.__path__[0]).parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


def test_importing_opens_no_file_but_modules() -> None:
    """No settings, no environment file, no metadata of packages, and nothing else either."""
    found = probe()

    assert [path for path in found["opened"] if not path.endswith((".py", ".pyc", ".so")) and ".pyc." not in path] == []


def test_importing_sets_no_logging_level_and_no_handler() -> None:
    """That is the application's business."""
    found = probe()

    assert found["levels"] == {}
    assert found["root"] is True


def test_importing_leaves_the_environment_alone() -> None:
    """As it was."""
    assert probe()["environ"] is True


@pytest.mark.parametrize(
    "library",
    ["asyncio", "cattrs", "django", "django_cqrs", "celery", "redis", "psycopg", "json", "sqlite3", "concurrent"],
)
def test_importing_loads_nothing_that_a_send_does_not_need(library: str) -> None:
    """No event loop, no framework, no client of a server."""
    loaded = plain_imports()

    assert [name for name in loaded if name == library or name.startswith(f"{library}.")] == []


def test_a_send_loads_no_codec() -> None:
    """It is loaded when the first event goes out."""
    code = """
import sys, simplecqrs as c
class Do(c.Command[int]): ...
class Ask(c.Query[int]): ...
registry = c.Registry()
registry.add(Do, lambda command: 7)
assert c.Mediator(registry).send(Do()) == 7
print("cattrs" in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(simplecqrs.__path__[0]).parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)

    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["simplecqrs", *MODULES])
def test_what_a_module_exports_is_sorted_and_there(name: str) -> None:
    """Constants first, then classes, then functions, as ruff sorts them."""
    module = importlib.import_module(name)

    assert list(module.__all__) == sorted(module.__all__, key=_like_ruff)
    assert [exported for exported in module.__all__ if not hasattr(module, exported)] == []


def _like_ruff(name: str) -> tuple[int, str]:
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, name


def test_no_exported_name_is_the_name_of_a_module() -> None:
    """``from simplecqrs import x`` is never ambiguous."""
    modules = {name.rpartition(".")[2] for name in MODULES}
    exported = {name for module in ["simplecqrs", *MODULES] for name in importlib.import_module(module).__all__}

    assert modules & exported == set()


def test_a_star_import_brings_what_is_exported() -> None:
    """The lazy ones too."""
    namespace: dict[str, Any] = {}
    exec("from simplecqrs import *", namespace)

    assert set(simplecqrs.__all__) <= set(namespace)


def test_about_forty_names_are_at_the_top() -> None:
    """The rest comes from its module."""
    assert len(simplecqrs.__all__) <= 41


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="module 'simplecqrs' has no attribute 'nothing'"):
        _ = simplecqrs.nothing


@pytest.mark.parametrize("name", ["simplecqrs", *MODULES])
def test_every_module_says_what_it_is(name: str) -> None:
    """The first line of its docstring names the one idea."""
    assert (importlib.import_module(name).__doc__ or "").strip()


@pytest.mark.parametrize("name", ["simplecqrs", *MODULES])
def test_the_examples_in_docstrings_work(name: str) -> None:
    """Whoever copies them gets what they show."""
    import doctest

    assert doctest.testmod(importlib.import_module(name)).failed == 0
