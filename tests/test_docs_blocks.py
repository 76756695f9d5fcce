"""Every Python block of the documentation is run, each page as one program."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.core.management import load_command_class
from django.db import connection, models
from sybil import Example, Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from django_cqrs import bus
from simplecqrs.registry import default_registry
from simplecqrs.upcasting import default_upcasters

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SYBIL = Sybil(parsers=[PythonCodeBlockParser()])
#: What a block that is a file of a Django app begins with: ``# orders/handlers.py``.
FILE = re.compile(r"^# (\w+)/(\w+)\.py$", re.MULTILINE)
#: A command in a block of a shell, without what explains it.
SHOWN = re.compile(r"^(?:    )*(?:python )?(?:\./)?manage\.py (cqrs_\w+)([^#\n]*)", re.MULTILINE)


@pytest.fixture
def fresh() -> Iterator[None]:
    """Let a page register its handlers in the registry and with the mediator that everybody uses."""
    shared = (default_registry, default_upcasters, bus)
    before = [dict(vars(each)) for each in shared]
    for each in shared:
        each.__init__()  # type: ignore[misc]
    yield
    for each, was in zip(shared, before, strict=True):
        vars(each).update(was)


@pytest.fixture
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Give a page a module of its own, as if in an app; it is also the files that its blocks say they are."""
    page: Path = request.getfixturevalue("page")
    made = ModuleType(f"pages.{page.stem.replace('-', '_')}")
    containing = apps.get_containing_app_config
    desk = apps.get_app_config("desk")
    monkeypatch.setattr(
        apps, "get_containing_app_config", lambda name: desk if name == made.__name__ else containing(name)
    )
    monkeypatch.setitem(sys.modules, made.__name__, made)
    for app, name in FILE.findall(page.read_text()):
        monkeypatch.setitem(sys.modules, app, made)
        monkeypatch.setitem(sys.modules, f"{app}.{name}", made)
    known = dict(apps.all_models["desk"])
    User.objects.all().delete()  # of whom other tests may have left some
    yield made
    User.objects.all().delete()
    Group.objects.all().delete()  # by which many pages stand for something of their own
    for name in apps.all_models["desk"].keys() - known.keys():
        with connection.schema_editor() as editor:
            editor.delete_model(apps.all_models["desk"].pop(name))
    apps.clear_cache()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
@pytest.mark.usefixtures("committed", "fresh")  # the tests' own handlers are back before the tables are put right
def test_its_blocks_run(page: Path, module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From top to bottom, the names of one block being known in the next."""
    monkeypatch.chdir(tmp_path)
    document = SYBIL.parse(page)
    document.namespace = vars(module)
    tables: set[Any] = set()

    for example in document.examples():
        run(example)
        make_tables(module, tables)


def run(example: Example) -> None:
    """Run one block; its traceback names page and line."""
    example.evaluate()


def make_tables(module: ModuleType, made: set[Any]) -> None:
    """Make the tables of the models that a page has defined, as migrate would."""
    for value in list(vars(module).values()):
        is_model = isinstance(value, type) and issubclass(value, models.Model)
        if is_model and value.__module__ == module.__name__ and value not in made:
            made.add(value)
            with connection.schema_editor() as editor:
                editor.create_model(value)


def test_the_commands_that_are_shown_exist() -> None:
    """Each manage.py command takes the options that it is shown with."""
    shown = [found for page in PAGES for found in SHOWN.findall(page.read_text())]

    assert len(shown) >= 10
    for name, options in shown:
        parser = load_command_class("django_cqrs", name).create_parser("manage.py", name)
        parser.parse_args(shlex.split(options))
