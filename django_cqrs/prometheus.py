"""
The metrics for Prometheus: a collector that reads the database when it is scraped, and a view.

It counts for all processes, so one of them is enough to be scraped, and no directory for several is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from django_cqrs.measures import MEASURES, Measure, Reader, Sample, reader
from simplecqrs.errors import MissingExtra

try:
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra("django_cqrs.prometheus", "prometheus") from error

__all__ = ["CQRSCollector", "metrics"]

KINDS: dict[str, Callable[..., Metric]] = {
    "gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "sums": SummaryMetricFamily,
}  # fmt: skip


class CQRSCollector(Collector):
    """
    Give backlogs, counters and workers of all queues, read from the database: ``REGISTRY.register(CQRSCollector())``.

    Args:
        read: what reads them.  Default: what all in this process share, and what is good for a second.
    """

    def __init__(self, read: Reader = reader) -> None:
        self._reader = read

    def describe(self) -> Iterator[Metric]:
        """Give the names, so that to register it needs no database."""
        return (_family(measure) for measure in MEASURES)

    def collect(self) -> Iterator[Metric]:
        """Read, and give the samples."""
        for measure, samples in self._reader.read().items():
            family = _family(measure)
            for sample in samples:
                _add(family, sample)
            yield family


def _family(measure: Measure) -> Metric:
    family = KINDS[measure.kind]
    return family(f"cqrs_{measure.name}", measure.help, labels=measure.labels)


def _add(family: Metric, sample: Sample) -> None:
    if isinstance(family, SummaryMetricFamily):
        family.add_metric(sample.labels, sample.number, sample.value)
    elif isinstance(family, (CounterMetricFamily, GaugeMetricFamily)):
        family.add_metric(sample.labels, sample.value)


_registry = CollectorRegistry()
_registry.register(CQRSCollector())


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape.  It names queues and counts messages: let only those in who may know that."""
    return HttpResponse(generate_latest(_registry), content_type=CONTENT_TYPE_LATEST)
