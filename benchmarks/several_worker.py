"""A relay process that ships while it is told to."""

from __future__ import annotations

import sys
import threading


def main() -> None:
    """For each line ``go``, run the loop until the next line."""
    import django

    django.setup()
    from django_cqrs.loops import make_loop
    from django_cqrs.relay import relays
    from simplecqrs.bell import Stop

    jobs = relays(routes=["streams"])
    jobs[0].step()
    print("ready", flush=True)
    while sys.stdin.readline():
        stop = Stop()
        listener = threading.Thread(target=_stop_when_told, args=(stop,))
        listener.start()
        make_loop(jobs, stop).run()
        listener.join()
        print("stopped", flush=True)


def _stop_when_told(stop: threading.Event) -> None:
    sys.stdin.readline()
    stop.set()


if __name__ == "__main__":
    main()
