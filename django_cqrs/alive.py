"""A file that is touched as long as a daemon watches its jobs: what a container's liveness probe looks at."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from attrs import define, field

from simplecqrs.errors import NotConfigured

__all__ = ["Alive"]

log = logging.getLogger("django_cqrs")

#: Seconds between two touches.
TOUCHES = 1.0


@define
class Alive:
    """
    Touch a file once a second, and remove it at the end, so that it does not speak for the next process.

    Args:
        path: of the file; None: there is none.

    Raises:
        NotConfigured: at its beginning, if the file cannot be touched.
    """

    path: Path | None = None
    _touched: float = field(default=float("-inf"), init=False)
    _is_failing: bool = field(default=False, init=False)

    def __enter__(self) -> Alive:
        try:
            self._touch()
        except OSError as error:
            raise NotConfigured(f"--alive-file: {self.path} cannot be touched: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def tell(self) -> None:
        """Touch it if it is time; later failures are logged, once."""
        if time.monotonic() - self._touched < TOUCHES:
            return
        try:
            self._touch()
            self._is_failing = False
        except OSError as error:
            if not self._is_failing:
                log.warning("%s cannot be touched, so a probe will take this process for dead: %s", self.path, error)
            self._is_failing = True

    def _touch(self) -> None:
        self._touched = time.monotonic()
        if self.path is not None:
            self.path.touch()
