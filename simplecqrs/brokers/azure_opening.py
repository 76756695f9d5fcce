"""Opening links to Azure Service Bus within a time."""

from __future__ import annotations

import time
from threading import Thread
from typing import Any

__all__ = ["Opening", "shut"]


def shut(link: Any) -> None:
    """Close a sender or receiver, and its socket, which the library leaves open if the connection has failed."""
    connection = getattr(getattr(link, "_handler", None), "_connection", None)
    transport = getattr(connection, "_transport", None)
    try:
        link.close()
    finally:
        if transport is not None:
            transport.close()


class Opening:
    """
    A sender or receiver that is being opened.

    The client library waits without an end for a server that takes a connection and says nothing, and whoever supplies
    tokens may take long as well.  So this is left to a thread, and one looks in again with the next call.
    """

    def __init__(self, link: Any) -> None:
        self.link = link
        self._began = time.monotonic()
        self._error: BaseException | None = None
        self._is_given_up = False
        self._thread = Thread(target=self._open, name="cqrs-azure-opening", daemon=True)
        self._thread.start()

    @property
    def age(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self._began

    def wait(self, seconds: float) -> bool:
        """Wait until it is open and return true, or false if that takes longer.  Raises what it failed with."""
        self._thread.join(max(seconds, 0))
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    def give_up(self) -> None:
        """Let it be closed as soon as it is open."""
        self._is_given_up = True

    def _open(self) -> None:
        try:
            self.link.__enter__()
        except BaseException as error:  # noqa: BLE001 - it is raised to whoever waits
            self._error = error
        if self._is_given_up:
            shut(self.link)
