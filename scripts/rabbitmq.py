"""
RabbitMQ as a server of the tests: a node of its own name, with a port mapper of its own.
"""

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from server import HOST, Server

SETTINGS = """\
listeners.tcp.default = {host}:{port}
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.console = true
log.file = false
{more}
"""


class RabbitMQ(Server):
    name = "rabbitmq"
    default_port = 25672
    packages = ("rabbitmq-server",)
    account = "rabbitmq"

    def program(self, name: str = "rabbitmq-server") -> Path | None:
        # What is in /usr/sbin starts Debian's own node; what is in the package's folder does as it is told.
        found = shutil.which(name, path=os.pathsep.join(["/usr/lib/rabbitmq/bin", os.environ.get("PATH", "")]))
        return Path(found) if found else None

    @property
    def epmd_port(self) -> int:
        return self.port + 2

    def prepare(self) -> None:
        more = os.environ.get("CQRS_RABBITMQ_SETTINGS", "")
        self.write("rabbitmq.conf", SETTINGS.format(host=HOST, port=self.port, more=more))
        self.write("enabled_plugins", "[].\n")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        if user := self.user():
            shutil.chown(path, user)

    def command(self) -> list[str]:
        return [str(self.program())]

    def environment(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.folder),  # where the cookie lands
            "RABBITMQ_NODENAME": "cqrs@localhost",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "beam.pid"),
            "RABBITMQ_DIST_PORT": str(self.port + 1),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
        }

    def answers(self) -> bool:
        """
        Tell whether it confirms a message; this one goes to nobody.
        """
        try:
            with socket.create_connection((HOST, self.port), timeout=5) as connection:
                connection.sendall(CONVERSATION)
                return any(answer.startswith(CONFIRMED) for answer in frames(connection))
        except OSError:
            return False

    def tidy(self) -> None:
        """
        End the port mapper, which outlives the node that started it; while a node is known to it, it refuses.
        """
        if epmd := shutil.which("epmd"):
            environment = {**os.environ, "ERL_EPMD_PORT": str(self.epmd_port), "ERL_EPMD_ADDRESS": HOST}
            subprocess.run([epmd, "-kill"], env=environment, capture_output=True, check=False)

    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}/"


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel: int, group: int, number: int, arguments: bytes) -> bytes:
    return frame(1, channel, struct.pack(">HH", group, number) + arguments)


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


#: The beginning of an acknowledgement on channel 1.
CONFIRMED = struct.pack(">BHHH", 1, 1, 60, 80)
LOGIN = b"\0guest\0guest"
#: Log in, open a channel, ask for confirms, and publish an empty message to a queue that is not there.
CONVERSATION = (
    b"AMQP\0\0\x09\x01"
    + method(0, 10, 11, bytes(4) + short(b"PLAIN") + struct.pack(">I", len(LOGIN)) + LOGIN + short(b"en_US"))
    + method(0, 10, 31, struct.pack(">HIH", 1, 131072, 0))
    + method(0, 10, 40, short(b"/") + short(b"") + b"\0")
    + method(1, 20, 10, short(b""))
    + method(1, 85, 10, b"\0")
    + method(1, 60, 40, bytes(2) + short(b"") + short(b"nobody") + b"\0")
    + frame(2, 1, struct.pack(">HHQH", 60, 0, 0, 0))
)


def frames(connection: socket.socket) -> Iterator[bytes]:
    """
    Yield what the server sends: kind and channel, then the payload.
    """
    with connection.makefile("rb") as stream:
        while len(head := stream.read(7)) == 7:
            payload = stream.read(struct.unpack(">I", head[3:])[0] + 1)
            yield head[:3] + payload
