"""
Virtual environments in .venvs/: which Pythons there are, what goes into each, made once and again when that changes.
"""

import configparser
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".venvs"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
DJANGOS = {"5.2": PYTHONS, "6.0": ("3.12", "3.13"), "6.1": ("3.12", "3.13")}  # and the Pythons that they support
COVERING = {"3.10": "5.2", "3.11": "5.2", "3.12": "6.0", "3.13": "6.1"}
TOOLS = {"test", "browser", "docs", "lint", "types", "dev", "all"}  # extras that are no feature


class InstallationFailed(Exception):
    """
    Raised when neither uv nor pip could fill an environment.
    """


@dataclass(frozen=True)
class Environment:
    """
    A virtual environment: its name, its interpreter, what pip would be told to install, and what may be missing.
    """

    name: str
    interpreter: Path
    requirements: tuple[str, ...]
    wishes: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return VENVS / self.name

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def stamp(self) -> str:
        """
        Return what changes when the environment has to be made again.
        """
        parts = [str(self.interpreter), *self.requirements, *self.wishes]
        if self.requirements:
            parts.append((ROOT / "setup.cfg").read_text().partition("[importlinter]")[0])
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def make(self, *, renew: bool = False) -> bool:
        """
        Make it unless it is up to date, and tell whether there was something to do.
        """
        mark = self.folder / "stamp"
        if not renew and mark.exists() and mark.read_text() == self.stamp:
            return False
        shutil.rmtree(self.folder, ignore_errors=True)
        # uv does not read pip's configuration, so pip may reach an index that uv cannot.
        if not with_uv(self) and not with_pip(self):
            raise InstallationFailed(f"cannot install {' '.join(self.requirements)} into {self.folder}")
        for wish in self.wishes:
            with suppress(InstallationFailed):
                self.install(wish)
        mark.write_text(self.stamp)
        return True

    def install(self, *requirements: str) -> None:
        added = Environment(self.name, self.interpreter, requirements)
        if not fill_with_uv(added) and not fill_with_pip(added):
            raise InstallationFailed(f"cannot install {' '.join(requirements)} into {self.folder}")


def with_uv(environment: Environment) -> bool:
    program = uv()
    return bool(
        program
        and succeeds(program, "venv", "--quiet", "--python", environment.interpreter, environment.folder)
        and fill_with_uv(environment)
    )


def fill_with_uv(environment: Environment) -> bool:
    if not environment.requirements:
        return True
    command = ("pip", "install", "--quiet", "--compile-bytecode", "--python", environment.python)  # as pip does
    return bool((program := uv()) and succeeds(program, *command, *arguments(environment)))


def with_pip(environment: Environment) -> bool:
    clear = ("-m", "venv", "--clear", environment.folder)
    return succeeds(environment.interpreter, *clear) and fill_with_pip(environment)


def fill_with_pip(environment: Environment) -> bool:
    if not environment.requirements:
        return True
    command = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    has_pip = succeeds(environment.python, "-m", "ensurepip", quiet=True)  # uv makes environments without it
    return has_pip and succeeds(environment.python, *command, *arguments(environment))


def arguments(environment: Environment) -> Iterator[str]:
    """
    Give the requirements as arguments; those that begin with "." are this project, editable.
    """
    for requirement in environment.requirements:
        if requirement.startswith("."):
            yield "-e"
        yield requirement


@cache
def uv() -> Path | None:
    """
    Find uv, or install it for ourselves; None if that fails: pip does the same, more slowly.
    """
    if found := shutil.which("uv"):
        return Path(found)
    program = VENVS / "uv" / "bin" / "uv"
    if not program.exists():
        venv.create(program.parent.parent, with_pip=True, clear=True)
        succeeds(program.parent / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    return program if program.exists() else None


def succeeds(*command: str | Path, quiet: bool = False) -> bool:
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, cwd=ROOT, env=clean(), stdout=output, stderr=output, check=False).returncode == 0


def clean() -> dict[str, str]:
    """
    Copy our environment variables without those that would leak into another Python.

    Nor is one told to forget what it has compiled: tests start hundreds of processes, and a third of their time went
    into compiling the same modules.
    """
    leaky = {"DJANGO_SETTINGS_MODULE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    slow = {"PYTHONDONTWRITEBYTECODE"}
    return {name: value for name, value in os.environ.items() if name not in leaky | slow}


@cache
def interpreters() -> Mapping[str, Path]:
    """
    Find the Pythons on this machine, by their own paths: a version manager's shims may refuse to run.
    """
    found: dict[str, Path] = {}
    for candidate in candidates():
        version, path = asked(candidate)
        if version in PYTHONS:
            found.setdefault(version, path)
    return {version: found[version] for version in PYTHONS if version in found}


def candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    for version in PYTHONS:
        yield from (Path(path) for path in [shutil.which(f"python{version}")] if path)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/3.*/bin/python"), reverse=True)


def asked(python: Path) -> tuple[str, Path]:
    """
    Ask a Python for its version and for itself, leaving virtual environments behind.
    """
    question = "import sys; print('%d.%d' % sys.version_info[:2]); print(getattr(sys, '_base_executable', ''))"
    answer = subprocess.run([python, "-c", question], env=clean(), capture_output=True, text=True, check=False)
    if answer.returncode:
        return "", python
    version, base = answer.stdout.splitlines()
    return version, Path(base or python)


def combination(python: str, django: str) -> Environment:
    requirements = (".[all,test]", f"Django~={django}.0")
    return Environment(f"py{python}-django{django}", interpreters()[python], requirements)


def combinations() -> list[Environment]:
    """
    List every Python with every Django that fits, oldest first.
    """
    return [combination(python, django) for python in interpreters() for django in DJANGOS if python in DJANGOS[django]]


def every_version_once() -> list[Environment]:
    """
    List combinations that have every Python and every Django among them; tox.ini has all that there are.
    """
    return [combination(python, django) for python, django in COVERING.items() if python in interpreters()]


def browser() -> Environment:
    """
    Return the newest Python and Django, with what shows pages.
    """
    newest = combinations()[-1]
    return Environment("browser", newest.interpreter, (".[django,test,browser]", newest.requirements[-1]))


def fuzz() -> Environment:
    """
    Return what throws made-up bytes at our readers; atheris is not to be had everywhere.
    """
    tests = [item for item in requirements_of("test") if item.startswith(("pytest>", "hypothesis"))]
    return Environment("fuzz", newest_python(), (".[msgspec,orjson]", *tests), wishes=("atheris>=3",))


def docs() -> Environment:
    """
    Return what builds the pages; it reads our sources and imports nothing of them.
    """
    return Environment("docs", newest_python(), (".[docs]",))


def core(python: str) -> Environment:
    """
    Return an environment without Django: the core, what it needs, and what its tests need.
    """
    tests = [item for item in requirements_of("test") if item.startswith(("pytest>", "hypothesis"))]
    return Environment(f"py{python}-core", interpreters()[python], (".", *tests))


def lowest() -> Environment:
    """
    Return an environment with the lowest version of everything that setup.cfg allows.
    """
    setup = setup_cfg()
    named = [line.strip() for line in setup["options"]["install_requires"].splitlines() if line.strip()]
    for extra in set(setup["options.extras_require"]) - TOOLS:
        named += requirements_of(extra)
    floors = sorted(item.replace(">=", "==") for item in named)
    return Environment("lowest", next(iter(interpreters().values())), (".", *floors, *requirements_of("test")))


def tools() -> Environment:
    return Environment("tools", newest_python(), (".[dev]",))


def newest_python() -> Path:
    return list(interpreters().values())[-1]


def requirements_of(extra: str) -> Sequence[str]:
    lines = setup_cfg()["options.extras_require"][extra].splitlines()
    return [line.strip() for line in lines if line.strip()]


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg")
    return parser
