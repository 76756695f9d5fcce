"""A bank on HTTP, in a process of its own: it honours idempotency keys, or it does not."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

__all__ = ["ask", "main"]


class Bank:
    """
    Accounts of sagas: each charge adds one, each refund takes one.

    Args:
        honours: whether it does once what it is asked for twice under one key, and whether it refuses a charge whose
            refund has come before it.
    """

    def __init__(self, *, honours: bool) -> None:
        self._honours = honours
        self._lock = threading.Lock()
        self._done: set[str] = set()
        self._refunded: set[str] = set()
        self._moved: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def charge(self, account: str, key: str) -> int:
        """Add one."""
        with self._lock:
            self._asked[key] += 1
            if self._honours and key in self._refunded:
                self._refused[key] += 1
                return 409
            if not self._honours or key not in self._done:
                self._moved[account] += 1
            self._done.add(key)
            return 200

    def refund(self, account: str, key: str, undoes: str) -> int:
        """Take one back, if it was ever added, and see that it is not added any more."""
        with self._lock:
            self._asked[key] += 1
            if undoes in self._done and (not self._honours or key not in self._done):
                self._moved[account] -= 1
            self._done.add(key)
            self._refunded.add(undoes)
            return 200

    def books(self) -> dict[str, dict[str, int]]:
        """Return what it has."""
        with self._lock:
            return {"moved": dict(self._moved), "asked": dict(self._asked), "refused": dict(self._refused)}


def ask(url: str, path: str, **body: str) -> Any:
    """Ask the bank; raises PermissionError if it refuses."""
    request = Request(f"{url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise PermissionError(f"the bank refuses: {error.code}") from error


def main() -> None:
    """Serve until the process ends; prints the port."""
    bank = Bank(honours="--honours" in sys.argv)

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code, answer = 200, bank.books()
            if self.path == "/charge":
                code = bank.charge(**body)
            elif self.path == "/refund":
                code = bank.refund(**body)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
