"""mypy --strict and pyright see what is pinned, and what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.types

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

pytestmark = pytest.mark.types
checkers = pytest.mark.parametrize(
    "checker",
    [
        pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
        for name in ("mypy", "pyright")
    ],
)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty folder; what mypy keeps there of the package serves for all files."""
    return tmp_path_factory.mktemp("cache")


def errors_of(checker: str, file: Path, cache: Path) -> dict[int, str]:
    """Return the errors that a checker finds in a file, by line."""
    return _mypy(file, cache) if checker == "mypy" else _pyright(file, cache)


def _mypy(file: Path, cache: Path) -> dict[int, str]:
    options = ["--config-file=", "--strict", "--no-error-summary", "--hide-error-context", f"--cache-dir={cache}"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(file)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        match = re.match(r"(.+?):(\d+): error: (.*)", line)
        if match is not None and match[1].endswith(file.name):  # the package is checked elsewhere
            found.setdefault(int(match[2]), match[3])
    return found


def _pyright(file: Path, cache: Path) -> dict[int, str]:
    # From an empty folder: the project's own settings leave out the file that is wrong on purpose.
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(file)],
        capture_output=True,
        text=True,
        cwd=cache,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    found = [d for d in json.loads(done.stdout)["generalDiagnostics"] if d["severity"] == "error"]
    return {d["range"]["start"]["line"] + 1: d["message"] for d in found}


def expected(checker: str, file: Path) -> set[int]:
    """Return the lines that are marked."""
    marks = ("# expect: error", f"# expect: error in {checker}")
    lines = file.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith(marks)}


@checkers
@pytest.mark.parametrize("name", ["api.py", "saga_api.py"])
def test_the_public_signatures_are_what_they_were(checker: str, name: str, cache: Path) -> None:
    """Every ``assert_type`` holds, without a single error in strict mode."""
    assert errors_of(checker, HERE / name, cache) == {}


@checkers
@pytest.mark.parametrize("name", ["wrong.py", "saga_wrong.py"])
def test_what_is_wrong_is_seen(checker: str, name: str, cache: Path) -> None:
    """Just the lines that say so."""
    file = HERE / name

    found, marked = errors_of(checker, file, cache), expected(checker, file)

    assert {line: text for line, text in found.items() if line not in marked} == {}
    assert marked - found.keys() == set()
