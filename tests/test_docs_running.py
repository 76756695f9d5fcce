"""The units, containers and schedules that the docs show can be used: they parse, and their commands exist."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import load_command_class
from django.test import Client

from django_cqrs import tasks

ROOT = Path(__file__).resolve().parent.parent
UNITS = "".join((ROOT / "docs" / f"{page}.md").read_text() for page in ("systemd", "containers"))
SYSTEMD = dict(re.findall(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```", UNITS, re.DOTALL | re.MULTILINE))
YAML = dict(re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", UNITS, re.DOTALL | re.MULTILINE))
SCHEDULES = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
#: Seconds that a supervisor waits, at the least: for a handler's longest time, and half a minute.
PATIENCE = {"cqrs_consume": 330, "cqrs_relay": 60, "cqrs_purge": 30}


def check_command(words: list[str]) -> str:
    """See that a command line is one of ours, and return the command's name."""
    name, *options = words[words.index("manage.py") + 1 :]
    load_command_class("django_cqrs", name).create_parser("manage.py", name).parse_args(options)
    return name


def patience_of(text: str, key: str) -> int:
    """Return the seconds that a supervisor waits, by the name of its setting."""
    found = re.search(rf"{key}[:=] ?(\d+)s?$", text, re.MULTILINE)
    assert found, key
    return int(found[1])


@pytest.mark.parametrize("unit", [unit for unit in SYSTEMD if unit.endswith(".service")])
def test_a_service_starts_a_command_of_ours_and_lets_it_end(unit: str) -> None:
    """It runs what there is, starts it again, and does not kill it in the middle of a handler."""
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(SYSTEMD[unit])

    name = check_command(shlex.split(parsed["Service"]["ExecStart"]))
    if parsed["Service"]["Type"] == "oneshot":
        return
    assert parsed["Service"]["Restart"] == "always"
    assert patience_of(SYSTEMD[unit], "TimeoutStopSec") >= PATIENCE[name]


def test_systemd_has_nothing_to_complain_of(tmp_path: Path) -> None:
    """By its own judgement, where it is installed."""
    assert len(SYSTEMD) >= 4
    verify = shutil.which("systemd-analyze")
    for unit, text in SYSTEMD.items():
        here = text.replace("/srv/shop/venv/bin/python", sys.executable).replace("User=shop", "User=root")
        (tmp_path / unit).write_text(here.replace("WorkingDirectory=/srv/shop", f"WorkingDirectory={tmp_path}"))

    if verify is not None:
        units = [str(tmp_path / unit) for unit in SYSTEMD]
        done = subprocess.run([verify, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
        ours = [line for line in done.stderr.splitlines() if any(unit in line for unit in SYSTEMD)]
        assert ours == []


@pytest.mark.parametrize("file", YAML)
def test_containers_run_commands_of_ours_and_have_time_to_end(file: str) -> None:
    """Each as a list, so that Python is the first process and gets the signals."""
    commands = [json.loads(found) for found in re.findall(r"command: (\[.*\])$", YAML[file], re.MULTILINE)]
    ours = [check_command(command) for command in commands if "manage.py" in command]

    assert ours
    waits = [int(found) for found in re.findall(r"(?:stop_grace_period|GracePeriodSeconds): (\d+)", YAML[file])]
    if file != "purge.yaml":
        assert waits == [PATIENCE[name] for name in ours]


def test_a_probe_tells_a_daemon_that_lives_from_one_that_does_not(tmp_path: Path) -> None:
    """By the age of the file that it touches."""
    [probe] = [json.loads(found) for found in re.findall(r'command: (\["sh".*\])$', YAML["consume.yaml"], re.MULTILINE)]
    alive = tmp_path / "alive"
    command = [word.replace("/tmp/alive", str(alive)) for word in probe]

    def answer() -> bool:
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    alive.touch()
    assert answer()
    os.utime(alive, (0, 0))
    assert not answer()
    alive.unlink()
    assert not answer()


@pytest.mark.usefixtures("committed")
def test_a_probe_of_the_web_server_is_answered_behind_djangos_own_middlewares(settings: Any) -> None:
    """Which refuse a host that nobody allows, and send to HTTPS what comes without."""
    page = UNITS.partition("# web.yaml")[2]
    probes = re.findall(r"httpGet: {path: /(\w+), port: 8000, httpHeaders: \[{name: Host, value: (.*?)}\]}", page)
    exempt = re.findall(r"SECURE_REDIRECT_EXEMPT = (\[.*?\])", page)
    settings.MIDDLEWARE = [f"django.middleware.{name}Middleware" for name in ("security.Security", "common.Common")]
    settings.ROOT_URLCONF = "tests.desk.probe_urls"
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["shop.example.org"], True
    settings.SECURE_REDIRECT_EXEMPT = json.loads(exempt[0])

    answers = [Client().get(f"/{path}", headers={"host": host}).status_code for path, host in probes]

    assert [path for path, _ in probes] == ["live", "ready"]
    assert answers == [200, 200]
    assert Client().get("/live", headers={"host": "10.0.0.7:8000"}).status_code == 400


def test_what_celery_is_to_schedule_exists() -> None:
    """The tasks that the docs name are there."""
    named = set(re.findall(r'"task": "(django_cqrs\.\w+)"', SCHEDULES))

    assert len(named) >= 3
    assert named <= {getattr(getattr(tasks, name), "name", "") for name in tasks.__all__}
