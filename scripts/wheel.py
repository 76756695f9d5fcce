"""
Check what users get: a wheel with all files, which needs what it says, in an environment that holds nothing else.
"""

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from environments import ROOT, VENVS, Environment, clean, interpreters

PACKAGES = ("simplecqrs", "django_cqrs")
EXPECTED = {"simplecqrs", "attrs", "cattrs", "typing-extensions", "exceptiongroup"}  # the last two are cattrs' own
LIST = """
import importlib.metadata
for distribution in importlib.metadata.distributions():
    print(distribution.metadata["Name"].lower().replace("_", "-"))
"""

Say = Callable[[str], None]


class Unfit(Exception):
    """
    Raised when the wheel is not what users should get.
    """


def check_wheel(builder: Environment, say: Say) -> None:
    """
    Build a wheel, and use it on the oldest and on the newest Python.
    """
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(builder, Path(folder), say)
        compare(wheel, say)
        pythons = interpreters()
        for version in sorted({min(pythons, key=by_number), max(pythons, key=by_number)}):
            use(wheel, Environment(f"wheel-{version}", pythons[version], ()), Path(folder), say)


def by_number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def build(builder: Environment, folder: Path, say: Say) -> Path:
    """
    Build from a copy: a build folder in the checkout would bring files back that were deleted long ago.
    """
    copy = folder / "source"
    copy.mkdir()
    for name in (*PACKAGES, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy / name)
    run([builder.python, "-m", "build", "--wheel", "--outdir", folder / "dist", copy], folder, say)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def compare(wheel: Path, say: Say) -> None:
    """
    Compare the wheel's files with those of the packages.
    """
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file())
    ours = {str(path.relative_to(ROOT)) for path in files if "__pycache__" not in path.parts}
    if inside != ours:
        raise Unfit(f"missing in the wheel: {sorted(ours - inside)}; too many: {sorted(inside - ours)}")
    say(f"{wheel.name}: {len(inside)} files, {wheel.stat().st_size // 1024} KiB\n")


def use(wheel: Path, empty: Environment, folder: Path, say: Say) -> None:
    empty.make(renew=True)
    empty.install(str(wheel))
    installed = set(run([empty.python, "-c", LIST], folder, say).split()) - {"pip", "setuptools"}
    if not {"simplecqrs", "attrs", "cattrs"} <= installed <= EXPECTED:
        raise Unfit(f"the wheel brings {sorted(installed)}, and should bring attrs, cattrs and what cattrs needs")
    run([empty.python, "-c", "import simplecqrs"], folder, say)
    if script := first_script():
        (folder / "readme.py").write_text(script)
        run([empty.python, "-W", "error", "readme.py"], folder, say)
    shutil.rmtree(VENVS / empty.name)


def first_script() -> str | None:
    """
    Return the first Python example of the README, which is a whole script.
    """
    readme = ROOT / "README.md"
    found = (
        re.search(r"^```python\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL) if readme.exists() else None
    )
    return found[1] if found else None


def run(command: list[str | Path], folder: Path, say: Say) -> str:
    say(f"$ {' '.join(map(str, command))[:100]}\n")
    done = subprocess.run(command, cwd=folder, env=clean(), capture_output=True, text=True, timeout=300, check=False)
    say(done.stdout + done.stderr)
    if done.returncode:
        raise Unfit(f"{Path(command[0]).name} ended with {done.returncode}{os.linesep}{done.stderr}")
    return done.stdout
