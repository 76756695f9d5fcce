"""Ports for servers of a test's own."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack

__all__ = ["free_ports"]

#: What an operating system gives to outgoing connections begins above (Linux: 32,768): one of those may be taken by a
#: client of another suite before the server binds it, or while a server that was killed starts again.
FIRST, LAST = 10_240, 32_767


def free_ports(number: int = 1) -> int:
    """Return the first of so many adjacent ports on which nobody listens."""
    while True:
        first = FIRST + secrets.randbelow(LAST - FIRST - number)  # not by random, which tests seed
        if _are_free(range(first, first + number)):
            return first


def _are_free(ports: range) -> bool:
    with ExitStack() as stack:
        try:
            for port in ports:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
