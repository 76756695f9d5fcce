"""Errors as HTTP responses: what a view has to say when a command was refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.http import HttpResponseBase, JsonResponse

from simplecqrs.errors import InvalidPayload

__all__ = ["answering_errors", "error_response"]

P = ParamSpec("P")
Errors = tuple[type[Exception], ...]


def error_response(error: Exception, *, not_found: Errors = (), conflict: Errors = ()) -> JsonResponse | None:
    """
    Return the response to an error, or None if it is not the client's doing.

    400 with the fields for ``InvalidPayload`` and Django's ``ValidationError``, 404 for ``ObjectDoesNotExist`` and
    what ``not_found`` lists, 409 for what ``conflict`` lists.
    """
    if isinstance(error, InvalidPayload):
        return _answer(400, "invalid", _by_path(error.errors))
    if isinstance(error, ValidationError):
        fields = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        return _answer(400, "invalid", fields)
    if isinstance(error, (ObjectDoesNotExist, *not_found)):
        return _answer(404, str(error) or "not found")
    if isinstance(error, conflict):
        return _answer(409, str(error) or "conflict")
    return None


def answering_errors(
    *, not_found: Errors = (), conflict: Errors = ()
) -> Callable[[Callable[P, HttpResponseBase]], Callable[P, HttpResponseBase]]:
    """
    Decorate a view: errors of commands become JSON responses, see ``error_response``; all others pass.

    Args:
        not_found: the project's own errors that mean 404.
        conflict: those that mean 409.
    """

    def decorate(view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
        @wraps(view)
        def answer(*args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                return view(*args, **kwargs)
            except Exception as error:
                response = error_response(error, not_found=not_found, conflict=conflict)
                if response is None:
                    raise
                return response

        return answer

    return decorate


def _by_path(errors: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for path, reason in errors:
        fields.setdefault(path, []).append(reason)
    return fields


def _answer(status: int, error: str, fields: Any = None) -> JsonResponse:
    body = {"error": error} if fields is None else {"error": error, "fields": fields}
    return JsonResponse(body, status=status)
