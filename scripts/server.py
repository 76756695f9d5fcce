"""
What a server of the tests is: how it is made, started and asked whether it is there.
"""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

HOST = "127.0.0.1"


def home() -> Path:
    """
    Return the folder of all data: outside the checkout, and readable on the way for the servers' own users.
    """
    if given := os.environ.get("CQRS_SERVICES_HOME"):
        return Path(given).resolve()
    if os.geteuid() == 0:
        return Path("/var/cache/simplecqrs-services")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "simplecqrs-services"


class Server:
    """
    Describe one server.  `scripts/services` does the rest.
    """

    name: str
    default_port: int
    packages: tuple[str, ...]  # on Debian
    account: str  # whom it runs as, when root starts it
    stop_signal: Signals = SIGTERM
    starts = True

    @property
    def port(self) -> int:
        return int(os.environ.get(f"CQRS_{self.name.upper()}_PORT") or self.default_port)

    @property
    def folder(self) -> Path:
        return home() / self.name

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def user(self) -> str | None:
        """
        Return the user to become, or None to stay who we are.
        """
        known = {entry.pw_name for entry in pwd.getpwall()}
        return self.account if os.geteuid() == 0 and self.account in known else None

    def make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if user := self.user():
            shutil.chown(self.folder, user, pwd.getpwnam(user).pw_gid)
            for parent in self.folder.parents:
                if not parent.stat().st_mode & 0o001:
                    sys.exit(f"{parent} is closed to user {user}: set CQRS_SERVICES_HOME to a folder that is not")

    def run(self, *command: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """
        Run a program of this server as its user.
        """
        return subprocess.run(
            command, **self.identity(), cwd=self.folder, timeout=timeout, capture_output=True, text=True, check=False
        )

    def identity(self) -> dict[str, Any]:
        """
        Return what makes a child process run as the server's user.
        """
        if not (user := self.user()):
            return {}
        return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}

    def program(self) -> Path | None:
        """
        Find the server's program, or return None if it is not installed.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """
        Make the data, unless they are there already.
        """

    def command(self) -> list[str]:
        """
        Return what to run, in the foreground.
        """
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """
        Return the variables that it needs besides ours.
        """
        return {}

    def answers(self) -> bool:
        """
        Tell whether it does real work by now.
        """
        raise NotImplementedError

    def tidy(self) -> None:
        """
        End what may be left of it when it has ended.
        """

    def url(self) -> str:
        raise NotImplementedError
