"""What a browser makes of a stream of server-sent events, step by step as the WHATWG's standard says."""

from __future__ import annotations

from attrs import define, field

__all__ = ["Event", "EventSource"]


@define
class Event:
    """A message that the page gets."""

    type: str
    data: str
    last_event_id: str


@define
class EventSource:
    """A reader of one response after the other."""

    events: list[Event] = field(factory=list)
    comments: int = 0
    retry: int | None = None
    last_event_id: str = ""
    _id: str = ""
    _data: str = ""
    _type: str = ""

    def read(self, stream: bytes) -> EventSource:
        """Read a whole response: an event that it does not end is dropped."""
        text = stream.decode("utf-8").removeprefix("\ufeff")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        *lines, _ = text.split("\n")
        for line in lines:
            self._line(line)
        self._data = self._type = ""
        return self

    def _line(self, line: str) -> None:
        if not line:
            self._dispatch()
        elif line.startswith(":"):
            self.comments += 1
        else:
            name, _, value = line.partition(":")
            self._field(name, value.removeprefix(" "))

    def _field(self, name: str, value: str) -> None:
        if name == "event":
            self._type = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value)

    def _dispatch(self) -> None:
        self.last_event_id = self._id
        if self._data:
            self.events.append(Event(self._type or "message", self._data.removesuffix("\n"), self._id))
        self._data = self._type = ""
