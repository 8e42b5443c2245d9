"""Around everything that the service answers: counts, times and traces each request, and writes its line of the log."""

import logging
import time
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bloodyspy.serving import tracing
from bloodyspy.serving.access_log import AccessLog, Entry
from bloodyspy.serving.metrics import Metrics

logger = logging.getLogger(__name__)

PROBES = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Asked every few seconds by machines: counted, but not logged."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

CLIENT_GONE = 499
"""What nginx logs for a client that did not wait; no client ever sees it."""

FAILED = 500


class Traffic:
    """Outermost but for BentoML's time limit, so that its own answers are seen too.

    What only the inside knows stands in the scope's ``state``: ``request_id``, ``user``, ``files``, ``model_version``.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log: AccessLog) -> None:
        self._app, self._metrics, self._log = app, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Intervals are monotonic time; the clock on the wall only says when.
        start, when = time.perf_counter(), datetime.now(UTC)
        state: dict[str, Any] = scope.setdefault("state", {})
        headers = dict(scope["headers"])
        traceparent = headers.get(b"traceparent", b"")
        status, received, sent, gone = 0, 0, 0, False

        async def counted_receive() -> Message:
            nonlocal received, gone
            message = await receive()
            received += len(message.get("body", b""))
            gone = gone or message["type"] == "http.disconnect"
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = CLIENT_GONE if gone else message["status"]
            sent += len(message.get("body", b""))
            await send(message)

        self._metrics.begun()
        with tracing.request_span(traceparent, headers.get(b"tracestate", b"")) as span:
            try:
                await self._app(scope, counted_receive, counted_send)
            finally:
                status = status or (CLIENT_GONE if gone else FAILED)
                method = scope["method"] if scope["method"] in METHODS else "other"
                route = _route(scope)
                seconds = time.perf_counter() - start
                self._metrics.answered(method, route, status, seconds, received, sent)
                if status == 401 and b"authorization" in headers:
                    self._metrics.sign_in_failed()
                if span is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attributes(
                        {
                            "http.request.method": method,
                            "http.route": route,
                            "http.response.status_code": status,
                            "bloodyspy.request_id": state.get("request_id", ""),
                        }
                    )
                if route not in PROBES:
                    user = state.get("user")
                    self._write(
                        Entry(
                            time=when.isoformat(timespec="milliseconds"),
                            request_id=state.get("request_id", ""),
                            method=method,
                            route=route,
                            status=status,
                            milliseconds=round(1000 * seconds, 3),
                            received_bytes=received,
                            sent_bytes=sent,
                            files=state.get("files", 0),
                            user=None if user is None else self._log.pseudonym(user),
                            model_version=state.get("model_version"),
                            trace_id=tracing.trace_id(span, traceparent),
                        )
                    )

    def _write(self, entry: Entry) -> None:
        try:
            self._log.write(entry)
        except OSError:  # a message about it would go the same way
            self._metrics.log_line_lost()


def _route(scope: Scope) -> str:
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    return scope["path"] if scope["path"] in PROBES else "other"
