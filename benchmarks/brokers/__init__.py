"""Each broker's adapter against the same client used by hand: publishing, and consuming."""

from benchmarks.brokers.race import run

__all__ = ["run"]
