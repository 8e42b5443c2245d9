"""The FastAPI application: start and stop, request ids, and one table from errors to answers."""

import asyncio
import gc
import logging
import os
import re
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bloodyspy import __version__
from bloodyspy.errors import (
    BloodySpyError,
    ImageTooLarge,
    LabellingError,
    LabelLost,
    ModelUnavailable,
    Overloaded,
    SpecimenRefused,
    UnreadableImage,
    UsersUnavailable,
)
from bloodyspy.serving import bench, docs, document, health, queue, review, routes, smears, tracing, watchdog
from bloodyspy.serving.access import Door
from bloodyspy.serving.answers import Fault
from bloodyspy.serving.house import House
from bloodyspy.serving.keeping import Keeper
from bloodyspy.serving.metrics import process_metrics
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.serving.reading import Reader
from bloodyspy.serving.served import ServedModel, wanted_release, wanted_shadow
from bloodyspy.serving.shadow import Shadow
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

STATUS: dict[type[BloodySpyError], HTTPStatus] = {
    UnreadableImage: HTTPStatus.UNPROCESSABLE_ENTITY,
    SpecimenRefused: HTTPStatus.UNPROCESSABLE_ENTITY,
    ImageTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ModelUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    LabellingError: HTTPStatus.SERVICE_UNAVAILABLE,
    LabelLost: HTTPStatus.SERVICE_UNAVAILABLE,
    UsersUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
}
"""Every other error of ours is a fault of the service: 500."""

RETRY_AFTER = {HTTPStatus.SERVICE_UNAVAILABLE: "5", HTTPStatus.TOO_MANY_REQUESTS: "1"}
"""Seconds."""

# What a client may call its request: it stands in the observation log, so it must not be a person's name,
# and it must be safe in a header and in a line of a log. A key that was put there by mistake stays out of both.
_REQUEST_ID = re.compile(r"(?=.*[0-9])(?!.*bsk_)[A-Za-z0-9][A-Za-z0-9._-]{5,63}")

_DESCRIPTION = """Classifies pictures of single blood cells into eight types.

Every answer names the model version that gave it, and leaves one row of image statistics and probabilities
(no picture, no name) in the observation log that drift is judged on.
"""


def create_application(settings: Settings) -> FastAPI:
    """The application. Nothing is loaded before it starts; without a model it starts all the same and answers 503."""

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        assert settings.bentoml_home is not None  # Settings fills both in
        assert settings.observations is not None
        home = settings.bentoml_home
        model = ServedModel("release", lambda: wanted_release(settings), home, settings.threads)
        challenger = ServedModel("shadow", lambda: wanted_shadow(settings), home, threads=1)
        shadow = Shadow(challenger, ObservationLog(settings.shadow_observations))
        metrics, progress = process_metrics(), watchdog.Progress()
        metrics.started(settings.workers)
        log, threads = ObservationLog(settings.observations), reader_threads(settings.workers)
        reader = Reader(model, log, shadow, threads, metrics, progress)
        keeper = Keeper(settings)
        with ThreadPoolExecutor(1, thread_name_prefix="doorman") as doorman:
            application.state.desk = routes.Desk(model, house, reader, keeper)
            application.state.door = Door(settings, doorman)
            work = smears.SmearWork(settings.smears, model, log, metrics, keeper, shadow)
            application.state.smears = work
            application.state.review = review.Review(settings, model)
            application.state.queue = queue.ShownQueue(settings)
            model.start()
            shadow.start()
            keeper.start()
            watching = asyncio.create_task(watchdog.watch(progress, settings.stall_seconds))
            sweeping = asyncio.create_task(work.sweep())
            # What is here by now stays. The garbage collector would look through all of it every few thousand requests,
            # and whoever is in the house would wait for that.
            gc.freeze()
            yield
            gc.unfreeze()
            sweeping.cancel()
            work.close()
            keeper.stop()
            shadow.stop()
            model.stop()
            reader.close()
            application.state.review.close()
            watching.cancel()
            watchdog.call_off()
            tracing.stop()

    house = House(settings.requests)
    application = FastAPI(
        title="BloodySpy",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    application.include_router(routes.router)
    application.include_router(smears.router)
    application.include_router(review.router)
    application.include_router(queue.router)
    application.include_router(health.router)
    docs.mount(application)
    application.include_router(bench.router)
    document.put_right(application)
    application.add_middleware(Gate, house=house)
    application.add_middleware(RequestId)
    application.add_exception_handler(HTTPException, _refused)
    application.add_exception_handler(RequestValidationError, _unfit)
    application.add_exception_handler(BloodySpyError, _failed)
    application.add_exception_handler(Exception, _broke)
    return application


def reader_threads(workers: int) -> int:
    """Threads that classify in one worker process: one more than its share of the cores, to fill the waits."""
    return max(1, len(os.sched_getaffinity(0)) // workers) + 1


class RequestId:
    """Gives each request an id, its own where it brought a usable one, and returns it in ``X-Request-ID``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with its id in ``request.state.request_id``."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


class Gate:
    """Refuses pictures while the house is full, before anything else is done for them.

    Where ten times too much is asked, nine requests in ten are refusals: they must cost next to nothing.
    """

    def __init__(self, app: ASGIApp, house: House) -> None:
        self._app, self._house = app, house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with 429."""
        app = self._app
        if self._house.full and scope["type"] == "http" and scope["path"].rstrip("/") in routes.CLASSIFYING:
            app = await _failed(Request(scope), Overloaded())
        await app(scope, receive, send)


async def _refused(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    detail, headers = str(exc.detail), dict(exc.headers or {})
    if exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # Starlette says no more than that
        detail = f"This address does not take {request.method}. Try {headers.get('Allow', 'another method')}."
    return _fault(request, exc.status_code, detail, headers)


async def _unfit(request: Request, exc: Exception) -> Response:
    """Parameters that do not fit. What was given is not repeated: it may be a name."""
    assert isinstance(exc, RequestValidationError)
    faults = "; ".join(f"`{fault['loc'][-1]}` in the {fault['loc'][0]}: {fault['msg']}" for fault in exc.errors())
    return _fault(request, HTTPStatus.UNPROCESSABLE_ENTITY, f"The request does not fit: {faults}.", {})


async def _failed(request: Request, exc: Exception) -> Response:
    status = next((STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("Request %s failed", request.state.request_id, exc_info=exc)
    headers = {"Retry-After": RETRY_AFTER[status]} if status in RETRY_AFTER else {}
    return _fault(request, status, str(exc), headers)


async def _broke(request: Request, exc: Exception) -> Response:
    """Starlette raises ``exc`` again after this answer, and the server logs it with its traceback."""
    logger.error("Request %s broke: %r", request.state.request_id, exc)
    detail = "The service failed on this request; its log says why. Quote the request id to whoever runs it."
    return _fault(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail, {})


def _fault(request: Request, status: int, detail: str, headers: dict[str, str]) -> Response:
    fault = Fault(detail=detail, request_id=request.state.request_id)
    return Response(fault.model_dump_json(), status, headers, "application/json")
