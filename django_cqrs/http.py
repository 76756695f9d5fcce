"""Commands over HTTP: the key that says that two requests are one, and errors as responses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from hashlib import sha256
from typing import Any, Literal, ParamSpec, overload

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.http import HttpResponseBase, JsonResponse

from django_cqrs.errors import IdempotencyKeyInvalid
from simplecqrs.errors import IdempotencyKeyInUse, IdempotencyKeyReused, InvalidPayload, NotConfigured
from simplecqrs.idempotency import LONGEST_KEY

__all__ = ["answering_errors", "error_response", "idempotency_key"]

P = ParamSpec("P")
Errors = tuple[type[Exception], ...]
HEADER = "Idempotency-Key"
#: A string of RFC 8941, and what most clients send in its place: a token.
QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")
#: Seconds after which a client may ask again, for what is still at work.
RETRY_AFTER = 1


@overload
def idempotency_key(request: Any, *, required: Literal[True] = True, scope: str = "") -> str: ...
@overload
def idempotency_key(request: Any, *, required: bool, scope: str = "") -> str | None: ...
def idempotency_key(request: Any, *, required: bool = True, scope: str = "") -> str | None:
    """
    Return the key of a request, for ``bus.send(..., idempotency_key=...)``.

    The request may be Django's own, that of Django REST framework, or of ninja.  The client's key is that of the
    header ``Idempotency-Key``.  User, method and path are part of what is returned, so that nobody gets what somebody
    else was answered.

    Args:
        required: whether the header may be missing; None is returned then.
        scope: tells apart several commands of one request, or clients that are no users of Django's.

    Raises:
        IdempotencyKeyInvalid: if it is missing, or cannot be read.
    """
    given = request.headers.get(HEADER)
    if given is None and not required:
        return None
    parts = (scope, _who(request, scope), request.method, request.path, _key(given))
    return sha256("\0".join(parts).encode()).hexdigest()


def _key(given: str | None) -> str:
    if given is None:
        raise IdempotencyKeyInvalid(f"the header {HEADER} is missing; send another string for each new request")
    text = given.strip()
    quoted = QUOTED.fullmatch(text)
    if quoted is None and BARE.fullmatch(text) is None:
        raise IdempotencyKeyInvalid(f'the header {HEADER} is no string in quotation marks, as "8e03978e"')
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted is not None else text
    if len(key) > LONGEST_KEY:
        raise IdempotencyKeyInvalid(f"the header {HEADER} has more than {LONGEST_KEY} characters")
    return key


def _who(request: Any, scope: str) -> str:
    """Name the client: the user, or what else the request was authenticated by."""
    user = getattr(request, "user", None)
    if getattr(user, "is_authenticated", False):
        return f"user {_identity(user, scope)}"
    known_by = getattr(request, "auth", None)
    return f"auth {_identity(known_by, scope)}" if known_by else ""


def _identity(client: Any, scope: str) -> str:
    kind = client.__class__.__qualname__  # what a lazy object stands for
    is_name = isinstance(client, (str, int)) and not isinstance(client, bool)  # True only says that it is somebody
    found = client if is_name else getattr(client, "pk", None)
    if found is None and not scope:
        raise NotConfigured(
            f"{kind} has no pk by which clients can be told apart; name the client: idempotency_key(request, scope=...)"
        )
    return f"{kind} {found}"


def error_response(error: Exception, *, not_found: Errors = (), conflict: Errors = ()) -> JsonResponse | None:
    """
    Return the response to an error, or None if it is not the client's doing.

    400 with the fields for ``InvalidPayload`` and Django's ``ValidationError``, 403 for ``PermissionDenied``, which
    ``NotPermitted`` is, without a word of what it would take, 404 for ``ObjectDoesNotExist`` and
    what ``not_found`` lists, 409 for what ``conflict`` lists.  Of idempotency keys: 400 for one that is missing or
    cannot be read, 422 for one that belongs to another command, 409 with ``Retry-After`` while the first is at work.
    """
    refused = _about_key(error) or _about_fields(error)
    if refused is not None:
        return refused
    if isinstance(error, PermissionDenied):
        return _answer(403, "not permitted")
    if isinstance(error, (ObjectDoesNotExist, *not_found)):
        return _answer(404, str(error) or "not found")
    if isinstance(error, conflict):
        return _answer(409, str(error) or "conflict")
    return None


def _about_key(error: Exception) -> JsonResponse | None:
    """Answer as draft-ietf-httpapi-idempotency-key-header says; names of our classes are nobody's business."""
    if isinstance(error, IdempotencyKeyInvalid):
        return _problem(400, f"{HEADER} is required, as a string", str(error))
    if isinstance(error, IdempotencyKeyReused):
        return _problem(422, f"{HEADER} is used already", "The key was sent with other content; use another one.")
    if isinstance(error, IdempotencyKeyInUse):
        response = _problem(409, "The first request is at work", "The same request is still at work; send it again.")
        response["Retry-After"] = str(RETRY_AFTER)
        return response
    return None


def _about_fields(error: Exception) -> JsonResponse | None:
    if isinstance(error, InvalidPayload):
        return _answer(400, "invalid", _by_path(error.errors))
    if isinstance(error, ValidationError):
        fields = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        return _answer(400, "invalid", fields)
    return None


def _problem(status: int, title: str, detail: str) -> JsonResponse:
    """Make what RFC 9457 calls problem details."""
    body = {"title": title, "status": status, "detail": detail, "error": title}
    return JsonResponse(body, status=status, content_type="application/problem+json")


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

        return _typed(answer, view)

    return decorate


def _typed(answer: Callable[P, HttpResponseBase], view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
    """Give a decorated view the types of its own: who asks for them, as ninja does, would look in this module."""
    typed: Any = answer
    with suppress(NameError, AttributeError, TypeError):  # what cannot be resolved yet stays as it is written
        typed.__signature__ = inspect.signature(view, eval_str=True)
    return answer


def _by_path(errors: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for path, reason in errors:
        fields.setdefault(path, []).append(reason)
    return fields


def _answer(status: int, error: str, fields: Any = None) -> JsonResponse:
    body = {"error": error} if fields is None else {"error": error, "fields": fields}
    return JsonResponse(body, status=status)
