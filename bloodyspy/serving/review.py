"""What a person at the bench adds to the answers: labels, and the differential of what has been counted so far."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from bloodyspy.errors import Overloaded, SmearError
from bloodyspy.labelling.labels import GivenLabel, KeptLabel, Labels
from bloodyspy.serving.access import needs
from bloodyspy.serving.answers import Fault
from bloodyspy.serving.authentication import Caller
from bloodyspy.serving.bodies import MAX_JSON, json_body, receive_json
from bloodyspy.serving.roles import Role
from bloodyspy.serving.served import ServedModel
from bloodyspy.settings import Settings
from bloodyspy.smear.differential import Differential, Question, Tally, differential
from bloodyspy.smear.reading import measured_confusion

WAITING = 8
"""Differentials that wait for their turn: each takes about a tenth of a second."""

_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": description}
    for status, description in (
        (400, "The body ends too early"),
        (401, "No credentials, or wrong ones"),
        (403, "The role is too small"),
        (408, "The body takes too long"),
        (413, f"More than {MAX_JSON // 1024} kB"),
        (415, "Not application/json"),
        (422, "Not what is wanted, or no white cell"),
        (429, "Too many requests; Retry-After says when to come again"),
        (503, "No users file, no model released yet, or no place for the label"),
    )
}


class Counted(Tally):
    """What has been counted of a smear, and what is asked of it."""

    ig_limit: float = Field(default=2.0, gt=0, lt=100, description="percent of ig that is flagged above")
    half_width: float = Field(default=5.0, gt=0, le=50, description="points; the wanted precision")


class Review:
    """Takes labels, and reckons one differential at a time."""

    def __init__(self, settings: Settings, model: ServedModel) -> None:
        self.labels = Labels(settings.labels)
        self._model = model
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="differential")
        self._waiting = 0

    async def reckon(self, counted: Counted) -> Differential:
        """The differential, by the confusion matrix of the model that answers now.

        Raises:
            ModelUnavailable: there is none.
            Overloaded: too many wait already.
            SmearError: there is no white cell yet.
        """
        artefact = self._model.current().classifier.artefact
        if self._waiting >= WAITING:
            raise Overloaded
        question = Question(ig_limit=counted.ig_limit, half_width=counted.half_width)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: differential(counted, measured_confusion(artefact), question)
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown(wait=True)


router = APIRouter(tags=["v1"])


@router.post("/v1/labels", responses=_FAULTS, openapi_extra=json_body(GivenLabel))
async def give_label(request: Request, caller: Annotated[Caller, Depends(needs(Role.REVIEW))]) -> KeptLabel:
    """What a person says that an answered picture shows. It is on the disk when this answers."""
    review: Review = request.app.state.review
    given = await receive_json(request, GivenLabel)
    return await run_in_threadpool(review.labels.keep, given, caller.name)


@router.post(
    "/v1/differential",
    dependencies=[Depends(needs(Role.CLASSIFY))],
    responses=_FAULTS,
    openapi_extra=json_body(Counted),
)
async def reckon(request: Request) -> Differential:
    """The differential of cells that were counted elsewhere, such as while a smear is being read."""
    review: Review = request.app.state.review
    counted = await receive_json(request, Counted)
    try:
        return await review.reckon(counted)
    except SmearError as exc:
        raise HTTPException(422, str(exc)) from exc
