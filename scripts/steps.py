"""
Steps of a test run: each has a name, something to do, a log, and a result that tells what pytest counted.
"""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from xml.etree import ElementTree

from environments import ROOT, VENVS, clean

LOGS = VENVS / "logs"
LINES_OF_A_FAILURE = 80
#: Seconds that an interrupted step may take to tidy up.
GRACE = 30
# A line of pytest's dots, which tells nothing once it is over.
PROGRESS = re.compile(r"[.sxXFE]+ +\[ *\d+%\]")

alive: set["subprocess.Popen[bytes]"] = set()
printing = Lock()


@dataclass
class Result:
    """
    What became of a step.
    """

    name: str
    seconds: float = 0.0
    failure: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        return ", ".join(f"{number} {word}" for word, number in self.counts.items() if number)


@dataclass(frozen=True)
class Step:
    """
    A step and what it does.  It fails by raising; what it writes into its log is shown then.
    """

    name: str
    action: Callable[["Step"], None]
    timeout: float = 600

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name.replace(' ', '-')}.log"

    @property
    def junit(self) -> Path:
        return self.log.with_suffix(".xml")

    def say(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(text)

    def run(self) -> Result:
        """
        Do it, and tell what became of it.
        """
        for file in (self.log, self.junit):
            file.unlink(missing_ok=True)
        result = Result(self.name)
        began = time.monotonic()
        try:
            self.action(self)
        except Exception as error:  # noqa: BLE001 - a step may fail in any way, and the others go on
            result.failure = str(error) or type(error).__name__
        result.seconds = time.monotonic() - began
        count(self.junit, result)
        self.tell(result)
        return result

    def tell(self, result: Result) -> None:
        verdict = "FAILED" if result.failure else "ok"
        with printing:
            print(f"{verdict:7} {result.name:28} {result.seconds:7.1f} s  {result.summary}", flush=True)
            if result.failure:
                # What failed comes first: who keeps logs may keep only the beginning of this.
                print(indented(*result.failed, result.failure, self.tail()), flush=True)

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        telling = [line for line in lines if not PROGRESS.fullmatch(line)]
        return "\n".join(telling[-LINES_OF_A_FAILURE:])


def indented(*texts: str) -> str:
    return "\n".join(f"    | {line}" for text in texts for line in text.splitlines())


def commands(*lines: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Callable[[Step], None]:
    """
    Make an action of command lines; the first that fails ends it.
    """

    def action(step: Step) -> None:
        for line in lines:
            execute(line, step, {**clean(), **(env or {})})

    return action


def execute(line: Sequence[str | Path], step: Step, env: Mapping[str, str]) -> None:
    step.say(f"$ {' '.join(map(str, line))}\n")
    with step.log.open("a") as log:
        process = subprocess.Popen(
            line, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        alive.add(process)
        try:
            code = process.wait(step.timeout)
        finally:
            end(process)
    if code:
        raise RuntimeError(f"{Path(line[0]).name} ended with {code}; everything it said is in {step.log}")


def end(process: "subprocess.Popen[bytes]") -> None:
    """
    End a process and what it left behind in its group, and forget it.

    It is asked first: pytest then ends what its tests have started, which is not in its group.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    alive.discard(process)


def end_all() -> None:
    for process in list(alive):
        end(process)


def pytest(python: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Callable[[Step], None]:
    """
    Make an action that runs pytest and counts.
    """

    def action(step: Step) -> None:
        report = f"--junitxml={step.junit}"
        command: list[str | Path] = [python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", report, *arguments]
        execute(command, step, {**clean(), **(env or {})})

    return action


def count(junit: Path, result: Result) -> None:
    """
    Count what pytest reported, and gather what failed and why tests were skipped; an expected failure is neither.
    """
    if not junit.exists():
        return
    for case in ElementTree.parse(junit).iter("testcase"):
        outcome = next((child for child in case if child.tag in {"failure", "error", "skipped"}), None)
        if outcome is None:
            result.counts["passed"] += 1
        elif outcome.get("type") == "pytest.xfail":
            result.counts["expected failures"] += 1
        elif outcome.tag == "skipped":
            result.counts["skipped"] += 1
            result.skips.append(outcome.get("message") or "no reason given")
        else:
            result.counts["failed"] += 1
            result.failed.append(f"{case.get('classname')}.{case.get('name')}: {first_line(outcome.get('message'))}")


def first_line(message: str | None) -> str:
    return (message or "no message").splitlines()[0]


def run_side_by_side(steps: Sequence[Step], *, workers: int) -> list[Result]:
    with ThreadPoolExecutor(workers) as pool:
        try:
            return list(pool.map(Step.run, steps))
        except BaseException:
            # Interrupted: begin nothing more, and do not wait for what is going on.
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise


def report(results: Sequence[Result], *, strict: bool, notes: Sequence[str]) -> int:
    """
    Print all results and why tests were skipped; return the exit code.
    """
    print(f"\n{'step':36} {'seconds':>9}  result")
    for result in results:
        print(f"{result.name:36} {result.seconds:9.1f}  {'FAILED  ' if result.failure else ''}{result.summary}")
        for test in result.failed:
            print(f"    {test}")
    tell_skips(results)
    for note in notes:
        print(f"note: {note}")
    wrong = [result.name for result in results if result.failure or (strict and result.skips)]
    if strict and any(result.skips for result in results):
        print("with CI=true nothing may be skipped")
    print(f"\nFAILED: {', '.join(wrong)}" if wrong else "\nall passed")
    return 1 if wrong else 0


def tell_skips(results: Sequence[Result]) -> None:
    steps: dict[str, list[str]] = {}
    for result in results:
        for reason in result.skips:
            steps.setdefault(reason, []).append(result.name)
    print("\nskipped:" if steps else "\nskipped: nothing")
    for reason, names in steps.items():
        print(f"  {len(names)} x {reason} (in {', '.join(dict.fromkeys(names))})")
