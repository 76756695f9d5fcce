"""
The demo's story, from the first order to the count of all effects.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from backends import Full, Sqlite
from census import CONSUMERS, Census
from checkouts import begin_and_kill, check_out_many, finish
from customers import BAD_LINES, REFUSED, Shop, left_open, place_many, settle, write_orders
from stage import Failed, Stage, free_port

OVER_HTTP, IN_THE_FILE = 200, 2000
SECONDS = 115.0


def perform(name: str, folder: Path) -> int:
    """
    Play the story in a folder, and return the exit code.
    """
    backend = Full() if name == "full" else Sqlite()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"\n{backend.title}; logs are in {folder}\n", flush=True)
    try:
        with backend.fresh(folder) as env, Stage(folder, env, SECONDS) as stage:
            return Story(backend, stage).play()
    except Failed as error:
        print(f"\nFAILED: {error}\nlogs are in {folder}", flush=True)
        return 1


class Story:
    """
    What happens, station by station, and how long it takes.
    """

    def __init__(self, backend: Sqlite | Full, stage: Stage) -> None:
        self.backend = backend
        self.stage = stage
        self.port = free_port()
        self.shop = Shop(self.port)
        self.received = 0
        self.stations: list[tuple[str, int, float]] = []

    def play(self) -> int:
        self.open()
        began = time.monotonic()
        orders = self.order_over_http()
        self.order_wrongly(orders)
        to_check_out = left_open(orders)
        first = self.census.payable_by_card(to_check_out)
        saga = begin_and_kill(self.stage, self.shop, self.census, first)
        self.import_and_kill(orders)
        self.check_out(saga, [order for order in to_check_out if order != first])
        self.drain(began)
        return self.tell(len(orders))

    def open(self) -> None:
        """
        Make the tables, fill the shelf, start everybody.
        """
        stage = self.stage
        stage.run("manage.py", "migrate", "-v", "0")
        stage.run("manage.py", "loaddata", "-v", "0", "products", "items")
        self.census = Census(stage.env, Path(stage.env["SHOP_DATA_DIR"]) / "mails")
        stage.progress = self.census.progress
        stage.say("the tables are made, and the shelf is filled")
        stage.start("web server", "manage.py", "runserver", "--noreload", f"127.0.0.1:{self.port}")
        self.backend.start(stage)
        stage.wait_for(self.shop.answers, "the web server")
        stage.say(f"started: {', '.join(stage.processes)}; the shop is at {self.shop.url}")

    def order_over_http(self) -> list[int]:
        orders = self.timed("orders over HTTP", lambda: place_many(self.shop, OVER_HTTP))
        self.stage.say(f"{len(orders)} times POST /api/orders/ -> 201")
        return orders

    def order_wrongly(self, orders: list[int]) -> None:
        """
        Send what has to be refused, and see that it is.
        """
        paid = orders[0]
        self.shop.must(200, f"{paid}/pay")
        for path, data, status in (*REFUSED, (f"{paid}/pay", None, 409)):
            answer = self.shop.must(status, path, data)
            self.stage.say(
                f"POST /api/orders/{path} {json.dumps(data) if data else ''} -> {status} {json.dumps(answer)}"
            )

    def import_and_kill(self, orders: list[int]) -> None:
        """
        Import the file, pay and cancel meanwhile, and kill a relay and a consumer twice.
        """
        file = self.stage.folder / "orders.csv"
        write_orders(file, IN_THE_FILE)
        began = time.monotonic()
        self.stage.start("import", "manage.py", "import_orders", str(file), ends=True)
        with ThreadPoolExecutor(1) as pool:
            settling = pool.submit(settle, self.shop, orders[1:])
            self.kill_at(OVER_HTTP + IN_THE_FILE // 4)
            self.backend.carrier.repeat(self.stage)
            self.kill_at(OVER_HTTP + IN_THE_FILE // 2)
            self.stage.wait_for(lambda: self.stage.processes["import"].poll() is not None, "the import")
            self.stations.append(("orders imported", IN_THE_FILE, time.monotonic() - began))
            settling.result()
        self.check_import()

    def check_out(self, saga: str, orders: list[int]) -> None:
        """
        See that the saga has gone on by itself, and check out other orders.
        """
        finish(self.stage, self.census, saga)
        self.stations.append(("killed saga finished", 1, self.census.duration(saga)))
        self.timed("orders checked out", lambda: check_out_many(self.stage, self.shop, self.census, orders))

    def check_import(self) -> None:
        """
        See that the good lines were imported, and the bad ones told.
        """
        code, text = self.stage.processes["import"].returncode, self.stage.log("import").read_text()
        said = f"{IN_THE_FILE:,} orders placed, {len(BAD_LINES)} lines refused"
        if code != 1 or said not in text:
            raise Failed(f"the import ended with {code}, not 1, or did not say: {said}\n{self.stage.tail('import')}")
        for line in [line for line in text.splitlines() if line.startswith("line ")]:
            self.stage.say(f"import_orders: {line}")
        self.stage.say(f"import_orders: {said}")

    def kill_at(self, number: int) -> None:
        """
        Kill when there are so many orders, look what waits, and start again.
        """
        stage, census = self.stage, self.census
        stage.wait_for(lambda: census.placed() >= number, f"{number} orders")
        stage.wait_for(lambda: census.received("reports") > self.received, "relay and consumers to be at work")
        self.backend.kill_relay(stage)
        stage.kill("consumer reports")
        self.received = census.received("reports")
        time.sleep(1)
        stage.say(census.progress())
        self.backend.start_relay(stage)
        stage.start("consumer reports")
        stage.say("started again: consumer reports")

    def drain(self, first: float) -> None:
        """
        Wait until nothing is left to do, by our own count and by cqrs_status.
        """
        waits: dict[str, Callable[[], bool]] = {"relayed": lambda: not self.census.unshipped()}
        waits |= {f"handled by {name}": partial(self.census.is_done, name) for name in CONSUMERS}

        def is_drained() -> bool:
            for what in [what for what, is_true in waits.items() if is_true()]:
                del waits[what]
                self.stations.append((what, self.census.published(), time.monotonic() - first))
                self.stage.say(f"everything is {what}")
            return not waits

        self.stage.wait_for(is_drained, "everything to be handled")
        status = json.loads(self.stage.run("manage.py", "cqrs_status", "--json").stdout)
        if status["queues"]:
            raise Failed(f"cqrs_status says that something is left: {status['queues']}")
        self.stage.say("cqrs_status: nothing waits")
        self.stage.say(f"GET / -> the page counts {self.shop.counts()}")

    def tell(self, over_http: int) -> int:
        """
        Print the stations and the count, and return the exit code.
        """
        print(f"\n{'station':24} {'count':>7} {'rate':>9} {'time':>9}")
        for station, count, seconds in self.stations:
            print(f"{station:24} {count:7,} {count / seconds:7,.0f}/s {seconds:7.1f} s")
        differences = [*self.census.differences(), *self.lost(over_http)]
        print(f"\n{self.count(over_http)}\n")
        if differences:
            print("NOT exactly once each:", *differences[:20], sep="\n  ")
            print(f"{len(differences)} differences; logs are in {self.stage.folder}")
            return 1
        print("exactly once each")
        return 0

    def lost(self, over_http: int) -> Iterator[str]:
        """
        Compare what customers were told with what the database holds, and that with what was relayed.
        """
        if self.census.placed() != over_http + IN_THE_FILE:
            yield f"{self.census.placed()} orders in the database; customers were told of {over_http + IN_THE_FILE}"
        streamed = self.backend.carrier.streamed()
        if streamed is not None and len(set(streamed)) != self.census.published():
            yield f"{len(set(streamed))} events in the stream, not {self.census.published()}"

    def count(self, over_http: int) -> str:
        """
        Return the count of everything, a line each.
        """
        census, streamed = self.census, self.backend.carrier.streamed()
        mails = census.mail_ids()
        twice = mails.total() - len(mails)
        dropped = sum(
            int(number)
            for log in self.stage.folder.glob("*.log")
            for number in re.findall(r"dropped (\d+) messages that it had seen", log.read_text(errors="replace"))
        )
        sent_twice = 0 if streamed is None else len(streamed) - len(set(streamed))
        lines = {
            "orders placed": f"{census.placed():7,}   {over_http} over HTTP, {IN_THE_FILE:,} imported",
            "events published": f"{census.published():7,}   an order placed, paid or cancelled",
            "events relayed": f"{census.published() - census.unshipped():7,}   and {sent_twice} of them twice",
            "events received": f"{sum(map(census.received, CONSUMERS)):7,}   by {' and '.join(CONSUMERS)}",
            "duplicates met": f"{dropped:7,}   dropped at the consumers' doors",
            "effects: reports": f"{census.histories():7,}   orders in the report",
            "effects: mails": f"{len(mails):7,}   and {twice} of them twice, with the same Message-ID",
            "sagas": census.checkouts(),
        }
        return "\n".join(f"{name:17} {line}" for name, line in lines.items())

    def timed(self, station: str, action: Callable[[], list[int]]) -> list[int]:
        began = time.monotonic()
        result = action()
        self.stations.append((station, len(result), time.monotonic() - began))
        return result
