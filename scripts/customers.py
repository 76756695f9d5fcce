"""
The demo's customers: they order, pay and cancel over HTTP, and not always rightly.
"""

import csv
import json
import random
import re
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

from stage import Failed

PRODUCTS = ("tea", "coffee", "honey")

#: What nobody can order, and the answer that it deserves.
REFUSED: Sequence[tuple[str, Any, int]] = (
    ("", {"email": "ada", "product": "tea", "quantity": 0}, 400),
    ("", {"email": "ada@example.org", "product": "tea", "quantity": "2", "colour": "green"}, 400),
    ("", {"email": "ada@example.org", "product": "tae", "quantity": 1}, 400),
    ("", {"email": "ada@example.org", "product": "cup", "quantity": 4}, 409),
    ("999999/pay", None, 404),
)
BAD_LINES = ("ada,tea,1", "ada@example.org,tea,many", "ada@example.org,tae,1")


class Shop:
    """
    Talks to the shop's API.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def answers(self) -> bool:
        try:
            return self.get("/api/orders/")[0] == 200
        except (URLError, OSError):
            return False

    def counts(self) -> str:
        """
        Read from the page for people how many orders are in which state.
        """
        found = re.findall(r'<td>([a-z]+)</td><td class="number">(\d+)</td>', self.get("/")[1])
        return ", ".join(f"{number} {state}" for state, number in found)

    def get(self, path: str) -> tuple[int, str]:
        with urllib.request.urlopen(self.url + path, timeout=30) as response:
            return response.status, response.read().decode()

    def post(self, path: str, data: Any = None) -> tuple[int, Any]:
        body = b"" if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"{self.url}/api/orders/{path}", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code >= 500:
                raise Failed(f"POST {path} was answered with {error.code}\n{text[:2000]}") from None
            return error.code, json.loads(text)

    def must(self, status: int, path: str, data: Any = None) -> Any:
        """
        Post what has to be answered with this status.
        """
        got, answer = self.post(path, data)
        if got != status:
            raise Failed(f"POST {path} {data} was answered with {got} {answer}, not {status}")
        return answer

    def place(self, data: Any) -> int:
        return int(self.must(201, "", data)["id"])


def place_many(shop: Shop, number: int) -> list[int]:
    """
    Place orders, four at a time, and return their ids.
    """
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(shop.place, (an_order(n) for n in range(number))))


def settle(shop: Shop, orders: Sequence[int]) -> None:
    """
    Pay every second order and cancel every fourth, one after the other.
    """
    for n, order in enumerate(orders):
        if n % 2 == 0:
            shop.must(200, f"{order}/pay")
        elif n % 4 == 1:
            shop.must(200, f"{order}/cancel")


def left_open(orders: Sequence[int]) -> list[int]:
    """
    Return the orders that ``settle`` leaves to be checked out; the first of all is paid before.
    """
    return [order for n, order in enumerate(orders[1:]) if n % 4 == 3]


def an_order(n: int) -> dict[str, Any]:
    return {"email": f"customer{n}@example.org", "product": random.choice(PRODUCTS), "quantity": random.randint(1, 5)}


def write_orders(file: Path, number: int) -> None:
    """
    Write a file of orders, with a few bad lines among them.
    """
    rows = [",".join(map(str, an_order(n).values())) for n in range(number)]
    for n, line in enumerate(BAD_LINES, 1):
        rows.insert(n * number // 4, line)
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([["email", "product", "quantity"], *(row.split(",") for row in rows)])
