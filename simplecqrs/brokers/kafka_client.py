"""A client of librdkafka's, with what it complained of, and what becomes of it in a forked process."""

from __future__ import annotations

import ctypes
import logging
import os
from typing import Any, Final
from weakref import WeakSet

from attrs import define, field

__all__ = ["Client", "Logger", "Troubles"]

log = logging.getLogger("simplecqrs.brokers.kafka")


@define
class Troubles:
    """What a client has complained of since somebody asked."""

    last: str = ""
    #: Trying on is of no use: they do not let us in.
    hopeless: bool = False

    def note(self, error: Any) -> None:
        """Note an error that librdkafka reports, whatever it was about."""
        self.last = f"{error.name()}: {error.str()}"
        self.hopeless = self.hopeless or error.name() in ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED")

    def forget(self) -> None:
        """Begin anew."""
        self.last, self.hopeless = "", False


class Logger:
    """
    Give librdkafka's log lines to ``logging``.

    Lines about connections are for those who look for something: they come at the rate of the attempts.
    """

    def log(self, level: int, text: str, name: str, *arguments: object) -> None:
        """Take a line, as the Python library hands it over."""
        level = logging.DEBUG if name in ("FAIL", "CONFWARN", "ERROR") else level
        log.log(level, text, name, *arguments)


@define(eq=False)
class Client:
    """
    A producer or consumer of this process.

    Args:
        handle: the object of the Python library.
        errors: what it raises.
        topics: those that are known to be there.
    """

    handle: Any
    troubles: Troubles
    errors: tuple[type[Exception], ...]
    topics: set[str] = field(factory=set[str])
    pid: int = field(factory=os.getpid)

    def __attrs_post_init__(self) -> None:
        _watch(self)

    @property
    def is_ours(self) -> bool:
        """Tell whether this process has made it: its threads are nowhere else."""
        return self.pid == os.getpid()


_clients: Final[WeakSet[Client]] = WeakSet()
_watching: list[bool] = []


def _watch(client: Client) -> None:
    if not _watching:
        _watching.append(True)
        os.register_at_fork(after_in_child=_keep_for_ever)
    _clients.add(client)


def _keep_for_ever() -> None:
    """
    Let a forked process never end the clients of its parent: it would wait for threads that it does not have.

    So they get a reference that nobody gives back.
    """
    for client in _clients:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(client.handle))
