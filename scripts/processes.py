"""
Processes by their id, never by their name: started in the background, recognised later, signalled as a family.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def stat_of(pid: int) -> list[str] | None:
    """
    Return the fields of /proc/PID/stat from the state on, or None if there is no such process.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def state_of(pid: int) -> str | None:
    """
    Return the letter that the kernel gives a process ("Z": dead, but not reaped), or None if there is none.
    """
    fields = stat_of(pid)
    return fields[0] if fields else None


def identity_of(pid: int) -> str | None:
    """
    Return what tells a living process from a later one with the same id: the id and when it began.
    """
    fields = stat_of(pid)
    return f"{pid} {fields[19]}" if fields and fields[0] not in "ZX" else None


def age_of(pid: int) -> float:
    """
    Return for how many seconds a process has lived.
    """
    fields = stat_of(pid)
    begun = int(fields[19]) / os.sysconf("SC_CLK_TCK") if fields else 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begun


def running(pidfile: Path) -> int | None:
    """
    Return the id of the process that a file remembers, or None if it has ended.
    """
    try:
        remembered = pidfile.read_text().strip()
    except OSError:
        return None
    pid = int(remembered.split()[0])
    return pid if identity_of(pid) == remembered else None


def launch(command: Sequence[str], *, pidfile: Path, log: Path, **options: Any) -> "subprocess.Popen[bytes]":
    """
    Start a process that outlives this one, and remember it.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **options
        )
    pidfile.write_text(identity_of(process.pid) or "")
    return process


def family_of(pid: int) -> list[int]:
    """
    List a process and all that descend from it, parents first.
    """
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat_of(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    family = [pid]
    for member in family:
        family.extend(children.get(member, []))
    return family


def signal_family(pid: int, number: signal.Signals) -> list[int]:
    """
    Send a signal to a process and its descendants, and list them.
    """
    family = family_of(pid)
    for member in family:
        try:
            os.kill(member, number)
        except ProcessLookupError:
            continue
    return family


def wait_for(condition: Callable[[], bool], *, seconds: float) -> bool:
    """
    Wait until a condition holds, and tell whether it did in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def gone(pids: Sequence[int]) -> bool:
    """
    Tell whether all of these have ended; one that nobody has reaped has ended as well.
    """
    return all(identity_of(pid) is None for pid in pids)
