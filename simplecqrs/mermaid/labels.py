"""Labels: any text, so that Mermaid shows it and takes nothing of it for its own syntax."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["LONGEST", "cut", "label", "lines"]

#: Characters of a label's line; what is longer is cut.
LONGEST: Final = 60
#: What is shown as it is: words, and what stands between two letters of one.  Markdown and keywords begin elsewhere.
PLAIN: Final = re.compile(r"[^\W_]+(?:[._-][^\W_]+)*|[ ()]")


def cut(text: str, longest: int = LONGEST) -> str:
    """Shorten a text, and make one line of it without what cannot be shown."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def label(text: str, longest: int = LONGEST) -> str:
    """
    Return a text as it can stand anywhere in a picture.

    All that could be syntax, or Markdown, is written as the number of the character: ``#34;`` for a quotation mark.
    """
    shown = cut(text, longest)
    escaped = ""
    while shown:
        plain = PLAIN.match(shown)
        escaped += plain[0] if plain else f"#{ord(shown[0])};"
        shown = shown[len(plain[0]) if plain else 1 :]
    return escaped


def lines(*texts: str, longest: int = LONGEST) -> str:
    """Return texts as the lines of one label; empty ones are left out."""
    return "<br/>".join(label(text, longest) for text in texts if text)
