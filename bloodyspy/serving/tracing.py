"""OpenTelemetry traces, where ``OTEL_EXPORTER_OTLP_ENDPOINT`` names a receiver; otherwise nothing is made and exported.

The other ``OTEL_*`` variables (sampler, service name, headers, queue) mean what OpenTelemetry's specification says.
"""

import contextvars
import functools
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from bloodyspy import __version__
from bloodyspy.model.release import NAME

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_P = ParamSpec("_P")
_R = TypeVar("_R")
_NOTHING: AbstractContextManager[None] = nullcontext()
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def span(name: str) -> AbstractContextManager[object]:
    """A span below the current one, for the time of the ``with`` block."""
    provider = _provider()
    return _NOTHING if provider is None else provider.get_tracer(__name__).start_as_current_span(name)


def carried(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function with the current span, for a thread of a pool, which would not know it otherwise."""
    if _provider() is None:
        return function
    return functools.partial(contextvars.copy_context().run, function)


def request_span(traceparent: bytes, tracestate: bytes) -> "AbstractContextManager[Span | None]":
    """The span of a request, below the one that its ``traceparent`` header names, if any."""
    provider = _provider()
    if provider is None:
        return _NOTHING
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    given = {"traceparent": traceparent.decode("latin-1"), "tracestate": tracestate.decode("latin-1")}
    parent = TraceContextTextMapPropagator().extract(given)
    return provider.get_tracer(__name__).start_as_current_span("request", parent, SpanKind.SERVER)


def trace_id(current: "Span | None", traceparent: bytes) -> str | None:
    """The trace that a request belongs to: of its span, else the one that its client named."""
    if current is not None:
        return format(current.get_span_context().trace_id, "032x")
    named = _TRACEPARENT.fullmatch(traceparent)
    return named[1].decode() if named else None


def stop() -> None:
    """Export what was not exported yet."""
    if (provider := _provider()) is not None:
        provider.shutdown()


@functools.cache
def _provider() -> "TracerProvider | None":
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    facts = {
        "service.name": os.environ.get("OTEL_SERVICE_NAME", NAME),
        "service.version": __version__,
        "service.instance.id": str(os.getpid()),
    }
    provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
