"""
Run benchmarks, all or the named ones, and print a table for each.

    python -m benchmarks [--full] [core] [combined] [groups] [codec] [packing] [django_commands] [relay] [reading]
                         [several] [consumer] [brokers] [latency] [celery] [writers] [sagas] [sagas_sqlite]
                         [sagas_django] [operations] [tracing] [purge] [week] [pressure]

Without ``--full`` all take about seven minutes.  Those of Django need the servers of ``scripts/services``, and skip
themselves if the environment names none.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

NAMES = (
    "core", "combined", "groups", "codec", "packing", "django_commands", "relay", "reading", "several", "consumer",
    "brokers", "latency", "celery", "writers", "sagas", "sagas_sqlite", "sagas_django", "operations",
    "tracing", "purge", "week", "pressure",
)  # fmt: skip
SERVERS = {
    "core": (),
    "combined": (),
    "groups": (),
    "codec": (),
    "packing": (),
    "django_commands": ("CQRS_TEST_POSTGRESQL",),
    "relay": ("CQRS_TEST_POSTGRESQL", "CQRS_TEST_REDIS"),
    "reading": ("CQRS_TEST_POSTGRESQL", "CQRS_TEST_REDIS"),
    "several": ("CQRS_TEST_POSTGRESQL", "CQRS_TEST_REDIS"),
    "consumer": ("CQRS_TEST_POSTGRESQL", "CQRS_TEST_REDIS"),
    "brokers": ("CQRS_TEST_POSTGRESQL",),
    "latency": ("CQRS_TEST_POSTGRESQL",),
    "celery": ("CQRS_TEST_POSTGRESQL", "CQRS_TEST_REDIS"),
    "writers": ("CQRS_TEST_POSTGRESQL", "CQRS_TEST_REDIS"),
    "sagas": (),
    "sagas_sqlite": (),
    "sagas_django": ("CQRS_TEST_POSTGRESQL",),
    "operations": ("CQRS_TEST_POSTGRESQL",),
    "tracing": ("CQRS_TEST_POSTGRESQL",),
    "purge": ("CQRS_TEST_POSTGRESQL",),
    "week": ("CQRS_TEST_POSTGRESQL",),
    "pressure": ("CQRS_TEST_POSTGRESQL",),
}


def main() -> int:
    """Run what is asked for; the exit code is 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Print tables of ratios to baselines.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--full", action="store_true", help="5,000,000 pending, 1,000,000 dead, more rounds")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    missed: list[str] = []
    for name in chosen.names or NAMES:
        absent = [server for server in SERVERS[name] if server not in os.environ]
        if absent:
            print(f'\n{name}: skipped, {" and ".join(absent)} is not set: eval "$(scripts/services env)"')
            continue
        lines = importlib.import_module(f"benchmarks.{name}").run(full=chosen.full)
        missed += [f"{name}: {line.what}" for line in lines if line.missed]
    print("\nmissed:", *missed or ["nothing"], sep="\n  ")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
