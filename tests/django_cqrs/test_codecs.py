"""The codecs that the settings name."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import frozen

from django_cqrs import DjangoMediator
from django_cqrs.codecs import project_codec, project_codecs
from django_cqrs.models import Outbox
from simplecqrs import Command, NotificationEvent, Publish, Registry
from simplecqrs.codec import JSONCodec
from simplecqrs.codec.orjson import OrjsonCodec
from simplecqrs.errors import PayloadTooLarge

QUICK = OrjsonCodec(max_bytes=20)


@frozen
class Tell(Command[None]):
    """Publishes an event."""

    what: str


@frozen
class Told(NotificationEvent, name="codecs.told"):
    """Is stored."""

    what: str


@frozen
class Upload(Command[int]):
    """Holds what no codec could write."""

    file: object


def configure(settings: Any, **more: Any) -> None:
    """Set more of DJANGO_CQRS."""
    settings.DJANGO_CQRS = {**settings.DJANGO_CQRS, **more}


def telling() -> DjangoMediator:
    """Return a mediator that publishes what it is told."""
    registry = Registry()

    @registry.handles(Tell)
    def tell(command: Tell, publish: Publish) -> None:
        publish(Told(command.what))

    return DjangoMediator(registry)


def test_json_is_written_unless_the_setting_says_otherwise(settings: Any) -> None:
    """With the limit of MAX_BYTES."""
    configure(settings, MAX_BYTES=30)

    assert isinstance(project_codec(), JSONCodec)
    assert project_codec().max_bytes == 30
    assert project_codecs() == {}


@pytest.mark.usefixtures("committed")
def test_the_setting_names_a_class_which_gets_the_limit(settings: Any) -> None:
    """Or an object, which is taken as it is, for some messages by their names."""
    configure(settings, CODEC="simplecqrs.codec.orjson.OrjsonCodec", MAX_BYTES=25)
    bus = telling()

    bus.send(Tell("short"))

    assert isinstance(project_codec(), OrjsonCodec)
    assert bytes(Outbox.objects.get().payload) == b'{"what":"short"}'
    with pytest.raises(PayloadTooLarge, match="limit of 25"):
        bus.send(Tell("a longer one, too long"))


@pytest.mark.usefixtures("committed")
def test_some_messages_may_have_a_codec_of_their_own(settings: Any) -> None:
    """By patterns of their names."""
    configure(settings, CODECS={"codecs.*": f"{__name__}.QUICK"})

    with pytest.raises(PayloadTooLarge, match="limit of 20"):
        telling().send(Tell("longer than that"))


def test_a_command_that_is_never_stored_may_hold_anything() -> None:
    """A file, for instance; only what leaves the process is looked at."""
    registry = Registry()
    registry.add(Upload, lambda command: 1)

    assert DjangoMediator(registry).problems() == []
