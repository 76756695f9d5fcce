"""
The servers that the tests need: how each is made, started and asked whether it is there.

All listen on the loopback only, on ports of their own, and keep what they acknowledge: the tests count lost messages.
A further server is a subclass with its own port, packages and five short methods, and a line in `SERVERS`.  A program
that tests start themselves is one with `starts = False`: it only has to be installed.
"""

import os
import re
import shutil
import socket
import sys
from pathlib import Path
from signal import SIGINT

from processes import state_of
from rabbitmq import RabbitMQ
from server import HOST, Server, home

__all__ = ["HOST", "SERVERS", "Server", "home"]


class PostgreSQL(Server):
    name = "postgresql"
    default_port = 25432
    packages = ("postgresql",)
    account = "postgres"
    stop_signal = SIGINT  # SIGTERM would wait for the clients to leave

    def program(self, name: str = "postgres") -> Path | None:
        folders = [str(path) for path in Path("/usr/lib/postgresql").glob("*/bin")]
        folders.sort(key=lambda folder: int(re.sub(r"\D", "", folder) or 0), reverse=True)
        found = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))
        return Path(found) if found else None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        self.drop_stale_locks()
        if (self.data / "PG_VERSION").exists():
            return
        # A folder that is renamed when it is complete: an interrupted initdb leaves nothing that looks ready.
        unfinished = self.folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]
        made = self.run(self.program("initdb") or "initdb", "-D", unfinished, *options)
        if made.returncode:
            sys.exit(f"initdb failed: {made.stderr or made.stdout}")
        unfinished.rename(self.data)

    def drop_stale_locks(self) -> None:
        """
        Remove the locks of a killed server whose process nobody has reaped: PostgreSQL would believe it alive.
        """
        for lock in (self.data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*.lock")):
            if lock.exists() and state_of(int(lock.read_text().split()[0])) == "Z":
                lock.unlink()

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [str(self.program()), "-D", str(self.data), "-p", str(self.port), *options]

    def answers(self) -> bool:
        psql = self.program("psql")
        if psql is None:
            sys.exit("psql is missing: install PostgreSQL's client programs")
        return self.run(psql, "-XAtqc", "SELECT 1", self.url()).stdout.strip() == "1"

    def url(self) -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"


class MariaDB(Server):
    name = "mariadb"
    default_port = 23306
    packages = ("mariadb-server",)
    account = "mysql"

    def program(self, name: str = "mariadbd") -> Path | None:
        found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
        return Path(found) if found else None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        if (self.data / "mysql").exists():
            return
        unfinished = self.folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        made = self.run(self.program("mariadb-install-db") or "mariadb-install-db", *options, f"--datadir={unfinished}")
        if made.returncode:
            sys.exit(f"mariadb-install-db failed: {made.stderr or made.stdout}")
        unfinished.rename(self.data)

    def command(self) -> list[str]:
        settings = {
            "datadir": self.data,
            "bind-address": HOST,
            "port": self.port,
            "socket": self.folder / "socket",
            "pid-file": self.folder / "mariadb.pid",
            "character-set-server": "utf8mb4",
            "default-time-zone": "+05:30",  # not ours: what is meant in UTC has to say so
            "max-connections": 200,
            "innodb-flush-log-at-trx-commit": 1,
            "innodb-doublewrite": "ON",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [str(self.program()), "--no-defaults", *options, "--skip-log-bin", "--skip-name-resolve"]

    def answers(self) -> bool:
        client = self.program("mariadb")
        if client is None:
            sys.exit("mariadb is missing: install MariaDB's client programs")
        address = [f"--host={HOST}", f"--port={self.port}", "--protocol=tcp", "--user=root", "--connect-timeout=5"]
        return self.run(client, "--no-defaults", *address, "--batch", "-Ne", "SELECT 1").stdout.strip() == "1"

    def url(self) -> str:
        return f"mysql://root@{HOST}:{self.port}/mysql"


class Redis(Server):
    name = "redis"
    default_port = 26379
    packages = ("redis-server",)
    account = "redis"

    def program(self) -> Path | None:
        found = shutil.which("redis-server")
        return Path(found) if found else None

    def command(self) -> list[str]:
        appending = ["--appendonly", "yes", "--appendfsync", os.environ.get("CQRS_REDIS_FSYNC") or "always"]
        place = ["--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)]
        return [str(self.program()), *place, *appending, "--save", "", "--daemonize", "no"]

    def answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"


class PgBouncer(Server):
    name = "pgbouncer"
    default_port = 26432
    packages = ("pgbouncer",)
    account = "postgres"
    stop_signal = SIGINT  # what it does at SIGTERM depends on its version

    def program(self) -> Path | None:
        found = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
        return Path(found) if found else None

    def prepare(self) -> None:
        """
        Lend the connections of our PostgreSQL for single transactions, another one each time.
        """
        (self.folder / "users").write_text('"postgres" ""\n')
        settings = {
            "listen_addr": HOST,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": self.folder / "users",
            "admin_users": "postgres",
            "pool_mode": "transaction",
            "server_round_robin": 1,
            "server_idle_timeout": 10,
            "default_pool_size": 50,
            "max_client_conn": 500,
        }
        lines = ["[databases]", f"* = host={HOST} port={PostgreSQL().port}", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines))

    def command(self) -> list[str]:
        return [str(self.program()), str(self.folder / "pgbouncer.ini")]

    def answers(self) -> bool:
        psql = PostgreSQL().program("psql")
        if psql is None:
            sys.exit("psql is missing: install PostgreSQL's client programs")
        return "PgBouncer" in self.run(psql, "-XAtqc", "SHOW VERSION", self.url("pgbouncer")).stdout

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/{database}"


class Chromium(Server):
    name = "chromium"
    packages = ("chromium", "fonts-dejavu-core")  # without a font, a page shows boxes
    starts = False

    def program(self) -> Path | None:
        found = shutil.which("chromium")
        return Path(found) if found else None

    def url(self) -> str:
        return str(self.program())


SERVERS: tuple[Server, ...] = (RabbitMQ(), PostgreSQL(), PgBouncer(), MariaDB(), Redis(), Chromium())
