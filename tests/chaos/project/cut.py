"""
Connections that are cut at each step of the story, before a server hears it, and before its answer is heard.

Run as ``python -m tests.chaos.project.cut default --sample 50 --seed 1``; prints a line of JSON for each cut.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Callable
from typing import Any

from attrs import frozen

from tests.chaos.project.lab import PATIENCE, clear, faults, fork, produce, retry, set_up, settled
from tests.chaos.proxy import Cut, Proxy


def main() -> None:
    """Cut everywhere, or at a sample of places."""
    options = _options()
    variable = f"CHAOS_{options.server.upper()}"
    proxy = Proxy(os.environ[variable])
    os.environ[variable] = proxy.start()
    set_up()
    clear()
    proxy.begin()
    code, _ = fork(way=survive)
    steps, sent = proxy.steps, proxy.sent
    print(json.dumps({"steps": steps, "code": code}), flush=True)
    rnd = random.Random(options.seed)
    cuts = [Cut(step, reply) for step in range(1, steps + 1) for reply in (False, True)]
    cuts = [*rnd.sample(cuts, min(options.sample or len(cuts), len(cuts)))]
    cuts += [Cut(byte=rnd.randrange(1, sent)) for _ in range(options.bytes)]
    for place in cuts:
        cut_at(proxy, place)


def _options() -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("server", choices=["default", "redis"])
    parser.add_argument("--sample", type=int, default=0, help="so many steps at random; default: all")
    parser.add_argument("--bytes", type=int, default=0, help="and after so many random numbers of bytes")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def cut_at(proxy: Proxy, place: Cut) -> None:
    """Let a process go the way; its connection is cut, and it has to recover by itself."""
    clear()
    proxy.begin(place)
    code, _ = fork(way=survive)
    cuts = proxy.cuts
    proxy.begin()
    where = {"step": place.step, "reply": place.reply, "byte": place.byte}
    print(json.dumps({"cut": where, "cuts": cuts, "code": code, "faults": faults(1)}), flush=True)


def survive() -> None:
    """Go the way as a daemon does: in a loop that recovers from what its jobs raise."""
    from django.conf import settings

    from django_cqrs.consumers import consumers
    from django_cqrs.loops import make_loop, recover, run
    from django_cqrs.promotion import promoters
    from django_cqrs.relay import relays
    from simplecqrs.bell import Stop

    stop = Stop()

    def end() -> None:
        if settled():
            stop.set()

    def make() -> list[Any]:
        try:
            shipping = [*promoters(["default"]), *relays(routes=[settings.BROKER], databases=["default"])]
            return [*shipping, *consumers("ledger")]
        except Exception as error:  # whoever finds no database when it starts is started anew
            if not recover(error):
                raise
            return make()

    loop = make_loop([Job("producer", produce), *make(), Job("operator", retry), Job("end", end)], stop)
    run(loop, seconds=PATIENCE)
    if not stop.is_set():
        raise TimeoutError(f"not settled within {PATIENCE} s; pausing: {loop.down}")


@frozen
class Job:
    """What else there is to do."""

    name: str
    step: Callable[[], Any]


if __name__ == "__main__":
    main()
