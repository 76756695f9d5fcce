"""The script of the documentation: killed in the middle, and run again."""

from __future__ import annotations

import gzip
import os
import random
import re
import sqlite3
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "sagas-in-scripts.md"
#: More than a pipe holds, packed as well.
ORDERS = random.Random(7).randbytes(1_000_000)

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in files here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the script, and what it is to back up."""
    [script] = re.findall(r"^```python\n(# nightly\.py\n.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "nightly.py").write_text(script)
    (tmp_path / "orders.csv").write_bytes(ORDERS)
    (tmp_path / "customers.csv").write_text("Ada")
    return tmp_path


def start(folder: Path, source: str, target: str) -> Popen[str]:
    """Start the script."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "nightly.py", source, target]
    return Popen(command, cwd=folder, env=env, stdout=PIPE, stderr=PIPE, text=True)


def let_leases_end(folder: Path) -> None:
    """Let an hour pass for the file."""
    db = sqlite3.connect(folder / "nightly.sqlite3")
    with db:
        db.execute("UPDATE simplecqrs_sagas SET due = due - 3600")
    db.close()


def test_it_goes_on_where_it_was_killed(folder: Path) -> None:
    """In the middle of a step; whoever is run next finishes it before its own."""
    os.mkfifo(folder / "orders.gz")  # whoever writes there waits for one who reads
    killed = start(folder, "orders.csv", "orders.gz")
    reader = os.open(folder / "orders.gz", os.O_RDONLY)  # returns when it has begun to write
    killed.kill()
    killed.communicate()
    os.close(reader)
    (folder / "orders.gz").unlink()
    let_leases_end(folder)

    output, errors = start(folder, "customers.csv", "customers.gz").communicate(timeout=60)

    assert (output, errors) == ("left over: COMPLETED\nCOMPLETED\n", "")
    assert gzip.decompress((folder / "orders.gz").read_bytes()) == ORDERS
    assert not (folder / "orders.csv.gz").exists()


def test_it_undoes_what_it_did_if_a_step_fails(folder: Path) -> None:
    """Here the last one that can be undone."""
    began = time.monotonic()

    output, errors = start(folder, "orders.csv", "absent/orders.gz").communicate(timeout=60)

    assert (output, errors) == ("COMPENSATED\n", "")
    assert not (folder / "orders.csv.gz").exists()
    assert time.monotonic() - began < 30
