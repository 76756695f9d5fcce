"""What all tests share; the core's run without Django."""

from importlib.util import find_spec

import pytest

if find_spec("pytest_django"):
    from tests.desk.fixtures import committed, django_db_setup, project, subscriptions, unblocked

    __all__ = ["committed", "django_db_setup", "project", "subscriptions", "unblocked"]

# Their assertions explain themselves when they fail, as those of test files do.
pytest.register_assert_rewrite("tests.contracts")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """
    Deselect what a contract asks only of some adapters: ``@pytest.mark.needs("parallel")``.

    The adapter's test class says what it has by an attribute of that name.
    """
    unmet = [item for item in items if not all(_has(item, mark.args[0]) for mark in item.iter_markers("needs"))]
    if unmet:
        config.hook.pytest_deselected(items=unmet)
        items[:] = [item for item in items if item not in unmet]


def _has(item: pytest.Item, ability: str) -> bool:
    case = getattr(item, "callspec", None)
    is_local = case is not None and case.params.get("local") is True  # what stays in one database is whole everywhere
    return is_local or bool(getattr(getattr(item, "cls", None), ability))
