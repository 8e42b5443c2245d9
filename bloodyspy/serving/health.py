"""Whether the service may be sent requests, and its metrics. ``/livez`` and ``/healthz`` are BentoML's own.

A worker that answers them has an event loop that turns; one that works no more is ended by the watchdog.
"""

from fastapi import APIRouter, FastAPI, HTTPException, Response
from prometheus_client import CONTENT_TYPE_LATEST

from bloodyspy.errors import ModelUnavailable, UsersUnavailable
from bloodyspy.serving.access import Door
from bloodyspy.serving.metrics import exposition
from bloodyspy.serving.routes import Desk

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
def metrics() -> Response:
    """Prometheus's text. BentoML's own labels requests with any path that anybody asks for: docs/decisions/0040."""
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)


def check_readiness(application: FastAPI) -> None:
    """Return where a request could be answered: a model that gave its golden answers, and users to let in.

    Raises:
        HTTPException: 503, with the sentence that says what is missing.
    """
    desk: Desk | None = getattr(application.state, "desk", None)
    door: Door | None = getattr(application.state, "door", None)
    if desk is None or door is None:
        raise HTTPException(503, "The service starts or stops.")
    try:
        desk.model.current()
        door.check()
    except (ModelUnavailable, UsersUnavailable) as exc:
        raise HTTPException(503, str(exc)) from exc
