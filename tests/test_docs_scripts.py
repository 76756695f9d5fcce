"""The script of docs/sagas-in-scripts.md does what the page shows: it is ended by Ctrl-C, and the next one goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "sagas-in-scripts.md").read_text()
#: Seconds for a script to come to its end.
PATIENCE = 60


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """Run the script of the page in a folder, as a shell in front of somebody does, who can press Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "nightly.py", *arguments],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - in the background it would be ignored
    )  # fmt: skip


def test_what_ctrl_c_has_left_is_finished_by_the_next_one(tmp_path: Path) -> None:
    """As the page shows it, line by line; a pipe from which nothing comes is where the first one is interrupted."""
    [script] = re.findall(r"^```python\n(# nightly\.py\n.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "nightly.py").write_text(script)
    (tmp_path / "customers.csv").write_text("customers")
    orders = tmp_path / "orders.csv"
    os.mkfifo(orders)

    first = start("orders.csv", "orders.gz", folder=tmp_path)
    with orders.open("wb"):  # which waits until the first step reads
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=PATIENCE)
    orders.unlink()
    orders.write_text("orders")
    said, complaints = start("customers.csv", "customers.gz", folder=tmp_path).communicate(timeout=PATIENCE)

    shown = re.findall(r"^    \$ python nightly\.py customers.*\n((?:    (?!\$).*\n)+)", PAGE, re.MULTILINE)
    assert [line.strip() for line in shown[0].splitlines()] == said.splitlines(), complaints
    assert (tmp_path / "orders.gz").is_file()
