"""The flowchart of a whole application: command, handler, events, their handlers, topics, consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simplecqrs.description import Description, Destination, HandlerDescription, MessageDescription, SagaDescription
from simplecqrs.mermaid.flowcharts import Flowchart

if TYPE_CHECKING:
    from simplecqrs.mediator import Mediator

__all__ = ["application_flow"]


def application_flow(described: Description | Mediator) -> str:
    """
    Draw what leads to what: from each message to its handlers, and on to what these publish and send.

    Dotted arrows lead to what a handler's source shows that it publishes or sends; ``simplecqrs.sources`` says what
    that misses.  Mermaid draws no more than 500 arrows unless it is told to; draw a part of a large application then.

    Args:
        described: a mediator; or what ``describe`` has returned, or a part of that: ``described.about("PlaceOrder")``.
    """
    if not isinstance(described, Description):
        from simplecqrs.describing import describe

        described = describe(described)
    return _Application(described).text()


class _Application:
    """One flowchart of one application."""

    def __init__(self, described: Description) -> None:
        self.described, self.chart = described, Flowchart("LR")
        self.messages: dict[str, str] = {}
        self.topics: dict[tuple[str, str], str] = {}
        self.handlers: dict[tuple[str, str], str] = {}
        self.sagas: dict[str, str] = {}
        self.ways: set[tuple[str, str]] = set()

    def text(self) -> str:
        """Draw all of it."""
        if not self.described.messages and not self.described.sagas:
            self.chart.node("nothing is registered")
        for message in self.described.messages:
            self._draw_message(message.name, message.title, message.kind)
        for message in self.described.messages:
            self._draw_handlers(message, "")
        consumers = {h.consumer: None for m in self.described.messages for h in m.handlers if h.consumer}
        for consumer in consumers:
            with self.chart.group(f"consumer {consumer}"):
                for message in self.described.messages:
                    self._draw_handlers(message, consumer)
        for saga in self.described.sagas:
            self._draw_saga(saga)
        for message in self.described.messages:
            self._draw_ways(message)
        return self.chart.text()

    def _draw_message(self, name: str, title: str, kind: str) -> str:
        if name not in self.messages:
            self.messages[name] = self.chart.node(title, kind, shape="message")
        return self.messages[name]

    def _draw_handlers(self, message: MessageDescription, consumer: str) -> None:
        for handler in message.handlers:
            place = (handler.handler, handler.consumer)
            if handler.consumer == consumer and place not in self.handlers:
                self.handlers[place] = self.chart.node(handler.title)

    def _draw_saga(self, saga: SagaDescription) -> None:
        node = self._draw_begun(saga.name, f"{len(saga.steps)} steps")
        self._draw_what_follows(node, saga)
        for step in saga.steps:
            if step.waits_for:
                waiting = (f"the saga {saga.name}, step {step.name}", "sagas")
                if waiting in self.handlers:
                    self._lead(self.handlers[waiting], node)

    def _draw_begun(self, saga: str, said: str = "") -> str:
        if saga not in self.sagas:
            self.sagas[saga] = self.chart.node(f"saga {saga}", said, shape="end")
        return self.sagas[saga]

    def _draw_ways(self, message: MessageDescription) -> None:
        source = self.messages[message.name]
        for handler in message.handlers:
            if not handler.consumer:
                text = "after the commit" if handler.when == "after commit" else ""
                self._lead(source, self.handlers[handler.handler, ""], text)
        self._draw_ways_out(message, source)
        for handler in message.handlers:
            node = self.handlers[handler.handler, handler.consumer]
            self._draw_what_follows(node, handler)
            for saga in handler.begins:
                self._lead(node, self._draw_begun(saga), "begins", dotted=True)

    def _draw_ways_out(self, message: MessageDescription, source: str) -> None:
        """Lead from an event that leaves the process by its topic to the consumers."""
        if not message.leaves:
            return
        everybody = [handler.consumer for handler in message.handlers]
        for way in message.destinations or [Destination(broker="", why="", reaches=everybody)]:
            topic = self._topic(message.topic, way.broker)
            self._lead(source, topic)
            for handler in message.handlers:
                if handler.consumer and handler.consumer in way.reaches:
                    self._lead(topic, self.handlers[handler.handler, handler.consumer])

    def _lead(self, source: str, target: str, text: str = "", *, dotted: bool = False) -> None:
        """Lead from one to the other, once."""
        if (source, target) not in self.ways:
            self.ways.add((source, target))
            self.chart.edge(source, target, text, dotted=dotted)

    def _topic(self, topic: str, broker: str) -> str:
        if (topic, broker) not in self.topics:
            where = f"in {broker}" if broker else ""
            self.topics[topic, broker] = self.chart.node(f"topic {topic}", where, shape="topic")
        return self.topics[topic, broker]

    def _draw_what_follows(self, node: str, handler: HandlerDescription | SagaDescription) -> None:
        for kind, names in (("publishes", handler.publishes), ("sends", handler.sends)):
            for name in names:
                self._lead(node, self._draw_message(name, name, ""), kind, dotted=True)
