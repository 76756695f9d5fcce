"""Middlewares: ``retrying`` for Django's mediator, and ``acting`` for Django's setting MIDDLEWARE."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db import OperationalError, connections
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

from django_cqrs.conf import settings
from django_cqrs.locks import held_lane
from django_cqrs.masking import hidden
from django_cqrs.mediator import app_label_name
from django_cqrs.requests import Scene
from django_cqrs.transactions import in_transaction
from simplecqrs.messages import Message, traits
from simplecqrs.middlewares import logged as core_logged
from simplecqrs.middlewares import retrying as core_retrying
from simplecqrs.middlewares.retries import On
from simplecqrs.pipeline import Middleware

__all__ = ["acting", "logged", "retrying"]


@sync_and_async_middleware
def acting(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """
    Let the user of a request act, and messages carry user, tenant and correlation id; for Django's MIDDLEWARE.

    It belongs behind ``AuthenticationMiddleware``.  The correlation id is that of the header ``X-Request-ID`` or
    ``X-Correlation-ID``, if it is a plain one of 128 characters at most, or a new one; the response has it as well.
    All this lasts until a streamed body was sent.
    """
    if iscoroutinefunction(get_response):

        async def answer_later(request: HttpRequest) -> Any:
            scene = Scene(request)
            with scene.open():
                response = await get_response(request)
            return scene.finish(response)

        return answer_later

    def answer(request: HttpRequest) -> Any:
        scene = Scene(request)
        with scene.open():
            response = get_response(request)
        return scene.finish(response)

    return answer


def logged(
    logger: logging.Logger | None = None,
    *,
    start: int = logging.DEBUG,
    end: int = logging.INFO,
    failure: int = logging.WARNING,
    fields: bool = False,
) -> Middleware:
    """
    Make a middleware that logs when a handler starts, and when it ends or fails, and after how many seconds.

    It does what ``simplecqrs.middlewares.logged`` does, and masks what the setting MASK names.

    Args:
        logger: takes the lines.  Default: ``simplecqrs``.
        start: the level of the first line.
        end: the level of the last line, where all went well.
        failure: the level of the last line, where the handler raised.
        fields: show the message's fields, as ``cqrs_fields`` as well.
    """
    return core_logged(logger, start=start, end=end, failure=failure, fields=fields, mask=hidden)


def retrying(
    attempts: int = 3,
    *,
    on: On = OperationalError,
    first: float = 0.1,
    cap: float = 5.0,
    jitter: float = 0.1,
    unless: Callable[[Message], bool] | None = None,
) -> Middleware:
    """
    Make a middleware that hands a request to its handler again, in a new transaction, if that fails by certain errors.

    It does what ``simplecqrs.middlewares.retrying`` does, and lets pass what is sent where a transaction is open on
    the message's alias already (ATOMIC_REQUESTS, somebody's ``atomic``) or where a consumer works: a part of a
    transaction cannot be repeated.  The transaction of Django's TestCase does not count.

    Args:
        attempts: in all, the first one included.
        on: errors, or a function that tells of an error whether it is worth another attempt, or after how many
            seconds.  OperationalError: deadlocks and locks that were not had in time, but also a connection that was
            lost, at a COMMIT perhaps that the database has done.
        first: the pause after the first failure, in seconds; it doubles from there.
        cap: the longest pause, in seconds.
        jitter: how much longer a pause may be at random, in seconds.
        unless: tells of further messages that they are to pass.
    """

    def passes(message: Message) -> bool:
        return _is_part(message) or (unless is not None and unless(message))

    return core_retrying(attempts, on=on, first=first, cap=cap, jitter=jitter, unless=passes)


def _is_part(message: Message) -> bool:
    """Tell whether a message's transaction would be a part of somebody else's."""
    kind = type(message)
    alias = settings().alias_for(traits(kind).name or app_label_name(kind))
    return held_lane() is not None or not connections[alias].settings_dict["AUTOCOMMIT"] or in_transaction(alias)
