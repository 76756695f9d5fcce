"""
What commands print is shown in the pages as they print it.

A block of ``text`` that begins with ``$ python manage.py`` is run in the example project, where a story has left
something to look at.  Times, ages, ids and hashes may differ.  With ``CQRS_WRITE_OUTPUTS=1`` the pages are written
anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
BLOCK = re.compile(r"(?<=^```text\n)\$ .*?(?=^```$)", re.DOTALL | re.MULTILINE)
#: A command line, and what it said.
SHOWN = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
COMMANDS = {page: SHOWN.findall("".join(BLOCK.findall(text))) for page, text in TEXTS.items()}
WITH_OUTPUT = [page for page, commands in COMMANDS.items() if commands]
#: What differs from run to run, and what stands for it.
VARYING = {
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}": "<id>",
    r"\b[0-9a-f]{32}(?:[0-9a-f]{32})?\b": "<hash>",
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00)?": "<time>",
    r"\d{4}-\d\d-\d\d\b": "<day>",
    r"(?<![\w.])-?\d[\d,]*(?:\.\d+)? (?:s|min|h)\b": "<age>",
    r"\b\d{10}\.\d+\b": "<moment>",
    r"\b\d[\d,]*(?:\.\d+)? (?:[kKMGT]?B|bytes)\b": "<size>",
    r"\(\S+, ticks\)": "(<host>, ticks)",
    r"[ \t]+": " ",
}


def settled(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, stands in VARYING.items():
        text = re.sub(pattern, stands, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def renewed(shown: re.Match[str], answer: str) -> str:
    """Return a command line with what it says now; as it stands there, if that is the same."""
    if settled(shown[2]) == settled(answer):
        return shown[0]
    return "\n".join([f"$ {shown[1]}", *(line.rstrip() for line in answer.splitlines()), ""])


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Run all that the pages show, in one process."""
    pages = {page: [line for line, _ in COMMANDS[page]] for page in WITH_OUTPUT}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SHOP_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests" / "shown.py")], cwd=ROOT / "example_project",
        env={
            **inherited, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'example_project'}", "LOGNAME": "ada",
            "SHOP_DATA_DIR": str(tmp_path_factory.mktemp("shop")), "DJANGO_SETTINGS_MODULE": "shop.settings",
        },
        input=json.dumps(pages), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("page", WITH_OUTPUT)
def test_what_a_page_shows_is_what_commands_print(page: str, said: dict[str, list[str]]) -> None:
    """Line by line; run it with CQRS_WRITE_OUTPUTS=1 to have the page written anew."""
    answers = iter(said[page])
    if os.environ.get("CQRS_WRITE_OUTPUTS"):
        written = BLOCK.sub(lambda block: SHOWN.sub(lambda one: renewed(one, next(answers)), block[0]), TEXTS[page])
        (ROOT / page).write_text(written)
        return

    shown = [f"$ {line}\n{settled(text)}" for line, text in COMMANDS[page]]

    assert shown == [f"$ {line}\n{settled(text)}" for (line, _), text in zip(COMMANDS[page], answers, strict=True)]


def test_every_output_is_of_a_command_that_is_run() -> None:
    """No block of text pretends to be one."""
    blocks = [block for text in TEXTS.values() for block in re.findall(r"^```text\n(.*?)^```$", text, re.S | re.M)]

    assert len(blocks) >= 2
    assert [block for block in blocks if not block.startswith("$ python manage.py ")] == []
