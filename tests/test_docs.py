"""Every example in the README is run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)

DJANGO = """
import django
from django.conf import settings
from django.core.management import call_command

MAIL = "django.core.mail.backends.locmem.EmailBackend"
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_cqrs"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "FOLDER/readme.sqlite3",
                           "OPTIONS": {"transaction_mode": "IMMEDIATE"}}},
    USE_TZ=True,
    **({"MAILERS": {"default": {"BACKEND": MAIL}}} if django.VERSION >= (6, 1) else {"EMAIL_BACKEND": MAIL}),
)
django.setup()
call_command("migrate", verbosity=0)
"""
CHECKS = """
from django.test import RequestFactory
body = {"name": "Barbara", "email": "barbara@example.org"}
request = RequestFactory().post("/", body, content_type="application/json")
assert sign_up_view(request).status_code == 201
bad = sign_up_view(RequestFactory().post("/", {"name": 1}, content_type="application/json"))
assert bad.status_code == 400 and b"email" in bad.content, bad.content
assert User.objects.filter(username="Grace").exists()
"""


def run(code: str, tmp_path: Path) -> str:
    """Run code as a script in a process of its own, warnings being errors."""
    script = tmp_path / "readme.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script_of_the_readme_runs(tmp_path: Path) -> None:
    """The first block is a whole program."""
    assert run(BLOCKS[0], tmp_path) == "hello 1\n"


def test_the_django_part_of_the_readme_runs(tmp_path: Path) -> None:
    """The other blocks, one after the other, are a project."""
    pytest.importorskip("django")
    run("\n".join([DJANGO.replace("FOLDER", str(tmp_path)), *BLOCKS[1:], CHECKS]), tmp_path)


def test_the_commands_of_the_readme_exist() -> None:
    """Each manage.py command that the README shows takes the options that it shows."""
    from django.core.management import load_command_class

    shown = re.findall(r"^    manage\.py (cqrs_\w+)([^#\n]*)", README, re.MULTILINE)

    assert len(shown) >= 5
    for name, options in shown:
        parser = load_command_class("django_cqrs", name).create_parser("manage.py", name)
        parser.parse_args(options.split())


def test_the_settings_of_the_readme_are_valid() -> None:
    """What the README says of brokers can be configured."""
    from django_cqrs.conf import read_settings

    block = next(block for block in BLOCKS if block.startswith("DJANGO_CQRS"))
    namespace: dict[str, object] = {}
    exec(block, namespace)

    assert read_settings(namespace["DJANGO_CQRS"])[1] == []
