"""What a benchmark prints: a table of ratios, each with its goal, and what it was measured on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

__all__ = ["Line", "machine", "show"]


@frozen
class Line:
    """
    One figure.

    Args:
        what: what was measured.
        value: the ratio, or another number with its unit.
        goal: the limit; None: the figure is told, not judged.
        at_least: whether the goal is a lower limit.
        detail: the absolute figures behind a ratio.
    """

    what: str
    value: float
    goal: float | None = None
    unit: str = "x"
    at_least: bool = False
    detail: str = ""

    @property
    def missed(self) -> bool:
        """Tell whether the goal was missed."""
        if self.goal is None:
            return False
        return self.value < self.goal if self.at_least else self.value > self.goal

    @property
    def verdict(self) -> str:
        """Say what the goal is, and whether it was met."""
        if self.goal is None:
            return ""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.goal:g} {self.unit}{'  MISSED' if self.missed else ''}"


def show(title: str, lines: Sequence[Line], *, notes: Mapping[str, str]) -> None:
    """Print a table, and below it what it was measured on."""
    width = max(len(line.what) for line in lines)
    print(f"\n{title}\n{'-' * len(title)}")
    for line in lines:
        value = f"{line.value:.2f} {line.unit}"
        print(f"{line.what:{width}}  {value:>12}  {line.verdict:18}  {line.detail}".rstrip())
    for name, note in {**machine(), **notes}.items():
        print(f"  {name}: {note}")


def machine() -> dict[str, str]:
    """Say what this runs on."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return {
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; load average {load}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
