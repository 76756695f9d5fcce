"""What containers are asked for by their contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, Protocol

from attrs import define, frozen

from simplecqrs import Command, Query

Log = list[str]


@frozen
class Do(Command[Any]):
    """A command."""


@frozen
class DoInside(Command[Any]):
    """Is sent by a handler of Do."""


@frozen
class Ask(Query[Any]):
    """A query."""


class Failure(LookupError):
    """What a handler or a factory raises; looks like what a container might catch."""


class Session:
    """Something that is opened and closed."""


class Users:
    """Needs a session."""

    def __init__(self, session: Session) -> None:
        self.session = session


class Clock(Protocol):
    """A protocol."""

    def now(self) -> int:
        """Tell the time."""


class FixedClock:
    """Is a clock without saying so."""

    def now(self) -> int:
        """Tell the time."""
        return 7


class Mailer(ABC):
    """An abstract class."""

    @abstractmethod
    def mail(self) -> str:
        """Send something."""


class PaperMailer(Mailer):
    """A concrete one."""

    def mail(self) -> str:
        """Send something."""
        return "paper"


class Broken:
    """Cannot be made."""

    def __init__(self, session: Session) -> None:
        raise FAILURE


class Missing(ABC):
    """Nothing provides it."""

    @abstractmethod
    def miss(self) -> None:
        """Be missed."""


FAILURE = Failure("cannot be made")


@define
class Factories:
    """What containers are to be filled with; notes what happens."""

    log: Log

    def session(self) -> Generator[Session, Any, None]:
        """Open a session."""
        yield from self._open(Session(), "session")

    def users(self, session: Session) -> Generator[Users, Any, None]:
        """Open users."""
        yield from self._open(Users(session), "users")

    def _open(self, opened: Any, name: str) -> Generator[Any, Any, None]:
        self.log.append(f"open {name}")
        try:
            if isinstance((yield opened), Failure):
                self.log.append(f"{name} is given the failure")
        except Failure:
            self.log.append(f"failure in {name}")
            raise
        finally:
            self.log.append(f"close {name}")
