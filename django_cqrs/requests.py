"""What goes on during one request: who asks, of which tenant, under which correlation id; until its body is sent."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from attrs import define, field
from django.http import FileResponse, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils.module_loading import import_string

from django_cqrs.conf import settings
from django_cqrs.permissions import acting
from django_cqrs.schemas import TENANTS, known_here
from simplecqrs.metadata import setting_late, uuid7

__all__ = ["Scene"]

#: Where a correlation id is looked for; it is returned in the one that had it, or else in the first.
HEADERS = ("X-Request-ID", "X-Correlation-ID")
#: What is accepted there: nothing that could break a log line, and no longer than any usual id.
CORRELATION_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}")


@define(eq=False)
class Scene:
    """
    One request, as messages see it.

    User and tenant are read when somebody asks for them: REST frameworks log users in later than any middleware, and
    whoever asks for a session has the response vary by its cookie.
    """

    request: HttpRequest
    header: str = field(init=False)
    correlation_id: str = field(init=False)
    _known: bool = field(default=False, init=False)
    _tenant: str | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        given = {name: self.request.headers.get(name, "") for name in HEADERS}
        usable = [name for name, value in given.items() if CORRELATION_ID.fullmatch(value)]
        self.header = usable[0] if usable else HEADERS[0]
        self.correlation_id = given[self.header] if usable else str(uuid7())

    @contextmanager
    def open(self) -> Generator[None, None, None]:
        """Let what is sent inside be this request's."""
        with setting_late(self.correlation_id, _Headers(self)), acting(self.user):
            yield

    def user(self) -> Any:
        """Return who asks, as far as is known by now."""
        return getattr(self.request, "user", None)

    def tenant(self) -> str | None:
        """Return the tenant, as the setting TENANT says, or else in whose schema this is."""
        path = settings().tenant
        if path is None:
            return known_here(TENANTS) if settings().schemas is not None else None
        if not self._known:
            self._tenant, self._known = import_string(path)(self.request), True
        return self._tenant

    def finish(self, response: HttpResponseBase) -> HttpResponseBase:
        """Name the correlation id, and keep the context for the rest of a body that is made while it is sent."""
        response.setdefault(self.header, self.correlation_id)
        if isinstance(response, StreamingHttpResponse) and not isinstance(response, FileResponse):
            content: Any = response.streaming_content
            parts = self._later(content) if response.is_async else self._each(iter(content))
            response.streaming_content = parts
        return response

    def _each(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        while True:
            with self.open():
                try:
                    part = next(parts)
                except StopIteration:
                    return
            yield part

    async def _later(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while True:
            with self.open():
                try:
                    part = await parts.__anext__()
                except StopAsyncIteration:
                    return
            yield part


class _Headers(Mapping[str, str]):
    """The headers of what a request causes."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def _read(self) -> dict[str, str]:
        user = getattr(self._scene.user(), "pk", None)
        found = {"user": None if user is None else str(user), "tenant": self._scene.tenant()}
        return {name: value for name, value in found.items() if value is not None}

    def __getitem__(self, name: str) -> str:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())
