"""
Run a peer in a process of its own, as ``Child`` starts it: lock seconds and subscriptions are its arguments.

It prints its port, and then does what each line of its input says: ``create TOPIC SUBSCRIPTION...``, ``clear``,
``drop``, ``expire``, ``refuse``, ``accept``; it answers with ``done``, and ends with its input.
"""

from __future__ import annotations

import sys

from tests.service_bus.peer import Peer


def main() -> None:
    """Obey."""
    peer = Peer()
    peer.lock_seconds, peer.on_demand = float(sys.argv[1]), tuple(sys.argv[2:])
    print(peer.port, flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        match command:
            case "create":
                peer.store.create(*arguments, lock_seconds=peer.lock_seconds)
            case "refuse" | "accept":
                peer.refuses = command == "refuse"
            case "clear" | "drop" | "expire":
                getattr(peer, command)()
        print("done", flush=True)


if __name__ == "__main__":
    main()
