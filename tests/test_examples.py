"""The scripts in examples/ run, and print what they say that they print."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def runs() -> dict[str, Any]:
    """Run all of them, warnings being errors; each in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests" / "run_examples.py"), *map(str, SCRIPTS)],
        cwd=ROOT, env={**inherited, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_it_prints_what_it_says(script: Path, runs: dict[str, Any]) -> None:
    """What a reader would see, and no complaint."""
    docstring = ast.get_docstring(ast.parse(script.read_text())) or ""
    run = runs[str(script)]

    assert run["ok"], run["errors"]
    assert run["errors"] == ""
    assert run["output"].splitlines() == dedent(docstring.partition("It prints::")[2]).strip().splitlines()


def test_the_list_of_examples_is_complete() -> None:
    """examples/README.md names each script, and none that is gone."""
    listed = re.findall(r"\]\((\w+\.py)\)", (ROOT / "examples" / "README.md").read_text())

    assert set(listed) == {script.name for script in SCRIPTS}
