"""Where a RabbitMQ server is, and how to get in: read from a URL and options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from simplecqrs.errors import NotConfigured

__all__ = ["Address", "read_address"]

PORTS: Final[Mapping[str, int]] = {"amqp": 5672, "amqps": 5671}


@frozen(kw_only=True)
class Address:
    """
    A server and a virtual host, with what it takes to log in.

    Args:
        tls: the options of py-amqp for TLS; None: in the clear.
    """

    scheme: str
    host: str
    port: int
    vhost: str
    user: str
    password: str = field(repr=False)
    tls: Mapping[str, Any] | None = None

    @property
    def place(self) -> str:
        """Say where it is, without the password."""
        return f"{self.scheme}://{self._server}/{'' if self.vhost == '/' else self.vhost}"

    def options(self) -> dict[str, Any]:
        """Return the arguments of py-amqp's connection."""
        return {
            "host": self._server,
            "userid": self.user,
            "password": self.password,
            "login_method": "PLAIN",  # else it tries what other libraries offer first
            "virtual_host": self.vhost,
            "ssl": dict(self.tls) if self.tls is not None else False,
        }

    @property
    def _server(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(url: str, *, ca_file: str = "", cert_file: str = "", key_file: str = "") -> Address:
    """
    Return what a URL says: ``amqp://user:password@host:port/vhost``, or ``amqps://...``.

    Raises:
        NotConfigured: if it cannot be read; the message does not quote it, as there may be a password in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise _unreadable() from None
    if not host or parts.query or parts.fragment or "/" in parts.path[1:]:
        raise _unreadable()
    return Address(
        scheme=parts.scheme,
        host=host,
        port=port,
        vhost=unquote(parts.path[1:]) or "/",
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        tls=_tls(host, ca_file, cert_file, key_file) if parts.scheme == "amqps" else None,
    )


def _unreadable() -> NotConfigured:
    return NotConfigured(
        "RabbitMQ: the url cannot be read: write amqp://user:password@host:5672/vhost or amqps://..., what is special"
        " in user, password and vhost percent-encoded, and nothing behind it: the rest are options"
    )


def _tls(host: str, ca_file: str, cert_file: str, key_file: str) -> Mapping[str, Any]:
    """Ask for a certificate of this host, signed by whom the system trusts, or by a file of one's own."""
    import ssl

    return {
        "server_hostname": host,
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": ca_file or None,
        "certfile": cert_file or None,
        "keyfile": key_file or None,
    }
