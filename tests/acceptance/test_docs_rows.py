"""The acceptance row of docs: 95."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_row_95_a_page_says_when_not_to_use_this() -> None:
    """In reasons of its own, with what to take instead; it is linked from where a stranger begins."""
    page = (ROOT / "docs" / "when-not-to-use-this.md").read_text()

    assert re.match(r"# When not to use", page)
    assert len(re.findall(r"^(?:## |\*\*|\* \*\*|- \*\*)", page, re.MULTILINE)) >= 5
    for instead in ("atomic", "async", "on_commit"):
        assert instead in page
    assert "when-not-to-use-this.md" in (ROOT / "docs" / "index.md").read_text()
