"""A RabbitMQ node of a test's own, run by ``scripts/services``, which it may fill up, stop and kill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_ports

__all__ = ["RabbitServer", "rabbitmq_server"]

SERVICES = Path(__file__).resolve().parent.parent / "scripts" / "services"


class RabbitServer:
    """
    Run a node on ports that are free, with data in a folder.

    Args:
        settings: lines of its configuration file.

    Attributes:
        ca_file: signed the certificate that it shows on ``tls_port``.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        self.port = free_ports(4)  # for clients, other nodes, the port mapper, and clients by TLS
        self.tls_port = self.port + 3
        self.ca_file = folder / "ca.pem"
        settings = f"{settings}\n{_tls_settings(folder, self.tls_port)}"
        self._env = {
            **os.environ,
            "CQRS_SERVICES_HOME": str(folder),
            "CQRS_RABBITMQ_PORT": str(self.port),
            "CQRS_RABBITMQ_SETTINGS": settings,
        }

    @property
    def url(self) -> str:
        """Return the URL of its first virtual host."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def do(self, what: str) -> None:
        """Start, stop, kill, pause or resume it."""
        done = subprocess.run(
            [sys.executable, str(SERVICES), what, "rabbitmq"],
            env=self._env, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        if done.returncode == 3:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr + done.stdout

    def control(self, *arguments: str) -> str:
        """Let rabbitmqctl do something: a second each."""
        program = shutil.which("rabbitmqctl", path=f"/usr/lib/rabbitmq/bin{os.pathsep}{os.environ.get('PATH', '')}")
        assert program is not None, "rabbitmqctl is not installed"
        done = subprocess.run(
            [program, "-q", "-n", "cqrs@localhost", *arguments],
            env={**self._env, **self._control_env()}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def _control_env(self) -> Mapping[str, str]:
        """Return what finds the node: its port mapper, and the cookie that it has made."""
        folder = Path(self._env["CQRS_SERVICES_HOME"]) / "rabbitmq"
        cookie = (folder / ".erlang.cookie").read_text()
        return {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(self.port + 2),
            "RABBITMQ_CTL_ERL_ARGS": f"-setcookie {cookie}",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
        }


@contextmanager
def rabbitmq_server(settings: str = "") -> Iterator[RabbitServer]:
    """Run a node as long as the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="cqrs-rabbitmq-"))
    folder.chmod(0o755)  # the node's own user must get in
    server = RabbitServer(folder, settings)
    try:
        server.do("start")
        yield server
    finally:
        server.do("stop")
        shutil.rmtree(folder, ignore_errors=True)


def _tls_settings(folder: Path, port: int) -> str:
    """Make a certificate for 127.0.0.1 that nobody else has signed, and return what shows it."""
    key, certificate = folder / "key.pem", folder / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o644)
    return "\n".join((
        f"listeners.ssl.default = 127.0.0.1:{port}",
        f"ssl_options.cacertfile = {certificate}",
        f"ssl_options.certfile = {certificate}",
        f"ssl_options.keyfile = {key}",
        "ssl_options.verify = verify_none",
    ))  # fmt: skip
