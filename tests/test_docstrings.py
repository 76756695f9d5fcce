"""The examples in docstrings work; those of the core are run with the core's own tests."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import django_cqrs
import simplecqrs.brokers

MODULES = [
    module.name
    for package in (django_cqrs, simplecqrs.brokers)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if ".migrations" not in module.name
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_work(name: str) -> None:
    """Whoever copies them gets what they show."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0
