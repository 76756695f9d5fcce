"""The spans of a test, recorded by OpenTelemetry's SDK behind its global provider, as a project has it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

__all__ = ["Spans", "spans"]


class Spans:
    """What was recorded, in the order in which it ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        """Return all of them."""
        return self._exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        """Return their names."""
        return [span.name for span in self.all]

    def of(self, name: str) -> Any:
        """Return the only one of a name."""
        (span,) = (span for span in self.all if span.name == name)
        return span

    def parent_of(self, name: str) -> str:
        """Return the name of the span that the only one of a name is in; empty: it is in none of ours."""
        parent = self.of(name).parent
        return next((s.name for s in self.all if parent and s.get_span_context().span_id == parent.span_id), "")


@cache  # a process has one global provider
def _exporter() -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Record spans."""
    _exporter().clear()
    yield Spans(_exporter())
    _exporter().clear()
