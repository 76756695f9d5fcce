"""
A database session for each command, whatever library it is of: committed with it, or rolled back.

SQLite by the standard library stands for yours; a session of SQLAlchemy goes in the same place.  A request that sends
one command has one session.  It prints::

    Ada and her account, by one session: committed
    Bob is refused, and his row with him: rolled back
    stored: Ada, account of Ada
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from simplecqrs import Command, DomainEvent, Mediator, Publish, handles


@frozen
class Join(Command[None]):
    name: str


@frozen
class Joined(DomainEvent):
    name: str


used: set[int] = set()


@handles(Join)
def join(command: Join, publish: Publish, *, session: sqlite3.Connection) -> None:
    used.add(id(session))
    session.execute("INSERT INTO people VALUES (?)", [command.name])
    publish(Joined(command.name))


@handles(Joined)
def open_account(event: Joined, *, session: sqlite3.Connection) -> None:
    used.add(id(session))
    if event.name == "Bob":
        raise PermissionError("no account for Bob")
    session.execute("INSERT INTO people VALUES (?)", [f"account of {event.name}"])


with TemporaryDirectory() as folder:
    file = Path(folder) / "people.sqlite3"

    def open_session() -> Iterator[sqlite3.Connection]:
        session = sqlite3.connect(file)
        try:
            yield session
            session.commit()
            print("committed")
        except BaseException:  # what the handler raised is raised at the yield
            session.rollback()
            print("rolled back")
            raise
        finally:
            session.close()

    with sqlite3.connect(file) as made:
        made.execute("CREATE TABLE people (name TEXT)")
    made.close()
    bus = Mediator(provide={sqlite3.Connection: open_session})

    print("Ada and her account, by one session:", end=" ")
    bus.send(Join("Ada"))
    assert len(used) == 1
    print("Bob is refused, and his row with him:", end=" ")
    try:
        bus.send(Join("Bob"))
    except PermissionError:
        pass
    else:
        raise AssertionError("Bob was let in")
    reading = sqlite3.connect(file)
    print("stored:", ", ".join(name for (name,) in reading.execute("SELECT name FROM people")))
    reading.close()
