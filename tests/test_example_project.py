"""The example project works: its own tests, under its own settings, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def manage(*arguments: str, folder: Path, **environment: str) -> None:
    """Run ``manage.py`` of the example project; fail with what it said."""
    leaky = {"DJANGO_SETTINGS_MODULE", "SHOP_BACKEND"}
    inherited = {name: value for name, value in os.environ.items() if name not in leaky}
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=ROOT / "example_project",
        env={**inherited, "PYTHONPATH": str(ROOT), "SHOP_DATA_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if done.returncode:
        pytest.fail(f"manage.py {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")


def test_its_own_tests_pass(tmp_path: Path) -> None:
    """What readers copy from works as it stands."""
    manage("test", folder=tmp_path)


def test_its_migrations_are_complete(tmp_path: Path) -> None:
    """A fresh clone gets the tables that the models need."""
    manage("makemigrations", "--check", "--dry-run", folder=tmp_path)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_its_wiring_is_right(tmp_path: Path, backend: str) -> None:
    """Both settings pass Django's checks, warnings included."""
    manage("check", "--fail-level", "WARNING", folder=tmp_path, SHOP_BACKEND=backend)
