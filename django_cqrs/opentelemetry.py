"""The metrics for OpenTelemetry: instruments that read the database when they are observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from django_cqrs.measures import MEASURES, Measure, Reader, reader
from simplecqrs.errors import MissingExtra

try:
    from opentelemetry.metrics import Observation, get_meter
except ImportError as error:
    raise MissingExtra("django_cqrs.opentelemetry", "otel") from error

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider

__all__ = ["observe"]


def observe(provider: MeterProvider | None = None, *, read: Reader = reader) -> None:
    """
    Let an SDK observe backlogs, counters and workers of all queues, read from the database.

    It counts for all processes, so let one of them observe: what several export is to be taken for the same.

    Args:
        provider: makes the meter.  Default: OpenTelemetry's global one.
        read: what reads them.
    """
    meter = get_meter("django_cqrs", meter_provider=provider)
    for measure in MEASURES:
        name = f"cqrs.{measure.name.removesuffix('_seconds')}"
        if measure.kind == "gauge":
            meter.create_observable_gauge(name, [_callback(measure, read)], measure.unit, measure.help)
        elif measure.kind == "counter":
            meter.create_observable_counter(name, [_callback(measure, read)], measure.unit, measure.help)
        else:  # there is no observable histogram; the two numbers of which an average is made are counters
            meter.create_observable_counter(f"{name}.sum", [_callback(measure, read)], measure.unit, measure.help)
            counting = partial(_observations, measure, read, of_number=True)
            meter.create_observable_counter(f"{name}.count", [counting], "{message}", measure.help)


def _callback(measure: Measure, read: Reader) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return partial(_observations, measure, read)


def _observations(measure: Measure, read: Reader, _: Any = None, *, of_number: bool = False) -> Iterable[Observation]:
    for sample in read.read()[measure]:
        attributes = dict(zip((f"cqrs.{label}" for label in measure.labels), sample.labels, strict=True))
        yield Observation(sample.number if of_number else sample.value, attributes)
