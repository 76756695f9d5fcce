"""
The demo's processes: started in groups of their own, killed, started again, and cleaned up whatever happens.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from environments import ROOT
from processes import family_of, identity_of

PROJECT = ROOT / "example_project"
LINES_OF_A_FAILURE = 30
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Failed(Exception):
    """
    Raised when the story cannot go on; its text says why.
    """


@dataclass
class Stage:
    """
    Holds the processes of one run.

    Every wait ends at the deadline, so that a story that hangs is told of as well.
    """

    folder: Path
    env: Mapping[str, str]
    seconds: float
    commands: dict[str, Sequence[str]] = field(default_factory=dict)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    ending: set[str] = field(default_factory=set)
    progress: Callable[[], str] | None = None
    began: float = field(default_factory=time.monotonic)

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number in SIGNALS:  # whoever is impatient must not leave half of it behind
            signal.signal(number, signal.SIG_IGN)
        for process in self.processes.values():
            signal_group(process, signal.SIGTERM)
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            signal_group(process, signal.SIGKILL)
            process.wait()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def log(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"

    def start(self, name: str, *command: str, ends: bool = False) -> None:
        """
        Start a process; one that was killed is started again by its name alone.  Only one that ``ends`` may end.
        """
        self.commands.setdefault(name, command)
        (self.ending.add if ends else self.ending.discard)(name)
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *self.commands[name]], cwd=PROJECT, env=self.env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """
        Kill a process with SIGKILL, in whatever it is doing.
        """
        process = self.processes[name]
        self.ending.add(name)
        process.kill()
        process.wait()
        self.say(f"KILLED {name} (SIGKILL, process {process.pid})")

    def kill_child(self, name: str) -> None:
        """
        Kill one of a process's children with SIGKILL; its parent starts another.
        """
        children = self.children(name)
        if not children:
            raise Failed(f"{name} has no child that could be killed")
        os.kill(children[-1], signal.SIGKILL)
        self.say(f"KILLED a child of {name} (SIGKILL, process {children[-1]})")

    def children(self, name: str) -> list[int]:
        return [pid for pid in family_of(self.processes[name].pid)[1:] if identity_of(pid)]

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """
        Run a process to its end, which has to be a good one.
        """
        done = subprocess.run(
            [sys.executable, *command], cwd=PROJECT, env=self.env, capture_output=True, text=True, check=False,
            timeout=self.left(),
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def left(self) -> float:
        return max(0.1, self.began + self.seconds - time.monotonic())

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """
        Wait until a condition holds, as long as nobody dies unasked and there is time; say now and then how it goes.
        """
        said = time.monotonic()
        while not condition():
            self.refuse_dead()
            if time.monotonic() > self.began + self.seconds:
                raise Failed(f"after {self.seconds:.0f} s the story still waits for {what}")
            if self.progress and time.monotonic() > said + 4:
                self.say(self.progress())
                said = time.monotonic()
            time.sleep(0.1)

    def refuse_dead(self) -> None:
        for name, process in self.processes.items():
            if name not in self.ending and process.poll() is not None:
                raise Failed(f"{name} ended with {process.returncode}\n{self.tail(name)}")

    def tail(self, name: str) -> str:
        return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-LINES_OF_A_FAILURE:])


def signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
