"""What a mediator does, as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from simplecqrs.description import (
    ConsumerDescription,
    Description,
    HandlerDescription,
    MessageDescription,
    SagaDescription,
    StepDescription,
)

__all__ = ["as_text"]


def as_text(described: Description) -> str:
    """Return a paragraph for each message, consumer and saga."""
    paragraphs = [
        *("\n".join(_message(message)) for message in described.messages),
        *("\n".join(_consumer(consumer)) for consumer in described.consumers),
        *("\n".join(_saga(saga)) for saga in described.sagas),
    ]
    return "\n\n".join(paragraphs) or "nothing is registered"


def _message(message: MessageDescription) -> Iterator[str]:
    answer = f" -> {message.answer}" if message.answer else ""
    yield f"{message.title}({', '.join(f'{n}: {kind}' for n, kind in message.fields.items())}){answer}"
    version = f", version {message.version}" if message.version > 1 else ""
    yield f"    {message.kind} {message.name}{version}, class {message.message}"
    if message.unit:
        yield f"    in {message.unit}" if message.unit != "none" else "    in no transaction of its own"
    if message.permission:
        yield f"    needs the permission {message.permission}"
    for handler in message.handlers:
        yield from _handler(handler)
    yield from _ways(message)
    yield from (f"    ! {note}" for note in message.notes)


def _handler(handler: HandlerDescription) -> Iterator[str]:
    where = f"later, by the consumer {handler.consumer!r}" if handler.consumer else handler.when
    yield f"    handled by {handler.handler}"
    yield f"        {where}: {handler.why}"
    if handler.needs:
        yield f"        needs {', '.join(f'{name}: {kind}' for name, kind in handler.needs.items())}"
    if handler.publishes:
        yield f"        publishes, as its source shows: {', '.join(handler.publishes)}"
    if handler.sends:
        yield f"        sends, as its source shows: {', '.join(handler.sends)}"
    if handler.begins:
        yield f"        begins, as its source shows: the saga {', '.join(handler.begins)}"


def _ways(message: MessageDescription) -> Iterator[str]:
    if not message.leaves:
        return
    key = f", in the order of each {message.key}" if message.key else ""
    yield f"    leaves by the topic {message.topic!r}{key}: {message.leaves}"
    for way in message.destinations:
        reaches = f"; from there to {', '.join(way.reaches)}" if way.reaches else ""
        yield f"        to {way.broker!r}: {way.why}{reaches}"


def _consumer(consumer: ConsumerDescription) -> Iterator[str]:
    yield f"consumer {consumer.name!r}"
    yield f"    handles {', '.join(consumer.messages) or 'nothing'}"
    if consumer.broker:
        yield f"    reads from {consumer.broker!r}, its workers are started by {consumer.engine!r}"
    if consumer.topics:
        yield f"    topics {', '.join(map(repr, consumer.topics))}: {consumer.why}"


def _saga(saga: SagaDescription) -> Iterator[str]:
    yield f"saga {saga.name!r} with {saga.state}"
    yield f"    its steps are messages {saga.message}, in {saga.unit}"
    yield from (f"    {_step(step)}" for step in saga.steps)
    if saga.publishes:
        yield f"    publishes, as its source shows: {', '.join(saga.publishes)}"
    if saga.sends:
        yield f"    sends, as its source shows: {', '.join(saga.sends)}"


def _step(step: StepDescription) -> str:
    said = [
        f"waits for {step.waits_for}" if step.waits_for else step.act,
        *([f"else {step.fallback}"] if step.fallback else []),
        *([f"undone by {step.undo}"] if step.undo else []),
        *([f"{step.attempts} attempts"] if step.attempts > 1 else []),
        *(["from here on only forward"] if step.pivot else []),
    ]
    return f"{step.group + 1}. {step.name}: {', '.join(said)}"
