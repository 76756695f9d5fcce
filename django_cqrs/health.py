"""
Views for load balancers and orchestrators: is this process alive, and can it take requests?

They tell little and need no login: write them into your URLs as ``path("live", health.live)``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from attrs import define, field
from django.conf import settings as django_settings
from django.db import Error, connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_cqrs.models import Outbox
from django_cqrs.relay import aliases

__all__ = ["live", "ready"]

log = logging.getLogger("django_cqrs")

#: Seconds that the databases may take to answer, and for which an answer is good.
PATIENCE, GOOD = 2.0, 1.0
#: Seconds after which who hangs is taken for lost.
HANGING = 10.0
UNAVAILABLE = 503


@define(eq=False)
class _Question:
    """Something that is asked in a thread of its own; what it ``found`` is None until it is answered."""

    ask: Callable[[], Sequence[str]]
    began: float = field(factory=time.monotonic)
    answered: float | None = None
    found: Sequence[str] | None = None
    thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="cqrs health", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.found = self.ask()
        except Exception as error:
            log.exception("the health of this process cannot be told")
            self.found = [type(error).__name__]
        finally:
            self.answered = time.monotonic()
            connections.close_all()


class Probe:
    """
    Ask something in a thread of its own, once at a time, and wait no longer than a moment for the answer.

    A question that hangs, since the other end of its connection has vanished, is left to itself after a while and
    asked anew; after twice as long each time, so that few threads hang.

    Args:
        ask: returns what has failed.
        seconds: to wait.
        hanging: seconds after which a question is asked anew.
    """

    def __init__(
        self, ask: Callable[[], Sequence[str]], seconds: float = PATIENCE, *, hanging: float = HANGING
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._hanging = self._patience = hanging
        self._lock = threading.Lock()
        self._last: _Question | None = None

    def failed(self) -> Sequence[str]:
        """Return what has failed; an answer of a moment ago is good, one that takes too long is none."""
        with self._lock:
            question = self._last = self._question(self._last, time.monotonic())
        question.thread.join(self._seconds)
        return ["no answer in time"] if question.found is None else question.found

    def _question(self, last: _Question | None, now: float) -> _Question:
        """Return the last question if it is good, or still waits for its answer, or else a new one."""
        if last is not None and last.answered is None:
            if now - last.began < self._patience:
                return last
            self._patience *= 2
        else:
            self._patience = self._hanging
            if last is not None and last.answered is not None and now - last.answered < GOOD:
                return last
        return _Question(self._ask)


def _databases() -> list[str]:
    """Return the aliases that do not answer, or lack our tables."""
    failed = []
    for alias in aliases():
        try:
            Outbox.objects.using(alias).order_by().values_list("pk")[:1].exists()
        except Error as error:
            log.warning("not ready: the database %r: %s", alias, error)
            failed.append(f"database {alias}")
    return failed


_probe = Probe(_databases)


def _without_transaction(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Let no ATOMIC_REQUESTS open a transaction on a database that may be down."""
    for alias in django_settings.DATABASES:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@_without_transaction
@never_cache
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """Answer with 200: this process takes requests.  It asks nobody, so that no outage has it started anew."""
    return JsonResponse({"status": "ok"})


@_without_transaction
@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """
    Answer with 200 if the databases answer and have our tables, else with 503, in two seconds at most.

    Brokers are not asked: commands work without them.
    """
    failed = _probe.failed()
    if failed:
        return JsonResponse({"status": "unavailable", "failed": list(failed)}, status=UNAVAILABLE)
    return JsonResponse({"status": "ok"})
