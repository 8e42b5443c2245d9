"""What of the answered pictures is worth a person's look, and the pictures themselves.

The queue is made outside of the service (:mod:`bloodyspy.labelling.choosing`); here it is joined with the labels that
were given since. Whoever reads sees neither the model's answer nor what others have said: a second reading that knows
the first is none.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.errors import KeepingError
from bloodyspy.images.media_type import kind_of
from bloodyspy.kept import store_of
from bloodyspy.labelling.labels import Key, Opinions
from bloodyspy.labelling.queue import Following, Item, Why
from bloodyspy.labelling.settling import State, standing
from bloodyspy.serving.access import needs
from bloodyspy.serving.answers import Fault
from bloodyspy.serving.authentication import Caller
from bloodyspy.serving.roles import Role
from bloodyspy.settings import Settings

MOST = 200
"""Items of one answer."""

_MEDIA_TYPES = ("image/jpeg", "image/png", "image/bmp", "image/tiff")

_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": description}
    for status, description in (
        (401, "No credentials, or wrong ones"),
        (403, "The role is too small"),
        (422, "Not a whole number in its limits, or no id"),
        (429, "Too many requests; Retry-After says when to come again"),
        (503, "No users file, or the queue or the labels cannot be read"),
    )
}


class Wanted(BaseModel):
    """A picture that the caller is asked to look at."""

    model_config = ConfigDict(frozen=True)

    request_id: str
    picture: int = Field(description="its place among the pictures of that request, from 0")
    why: tuple[Why, ...]
    reasons: tuple[str, ...] = Field(description="the same in words")


class WantedAnswer(BaseModel):
    """What the caller is asked to look at, the most telling first."""

    model_config = ConfigDict(frozen=True)

    items: tuple[Wanted, ...]
    left: int = Field(description="pictures that wait for the caller, these included")


class ShownQueue:
    """The queue, joined with the labels so far. Safe to call from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._following, self._opinions = Following(settings.queue), Opinions(settings.labels)
        self._store = store_of(settings)

    def wanted(self, reviewer: str, limit: int) -> WantedAnswer:
        """What somebody is asked: what is open, and what they have not said anything of.

        Raises:
            LabellingError: the queue or the labels cannot be read.
        """
        queue = self._following.current()
        if queue is None:
            return WantedAnswer(items=(), left=0)
        self._opinions.refresh()
        found = [item for item in queue.items if self._is_open_to(reviewer, item, queue.readers)]
        return WantedAnswer(items=tuple(_told(item) for item in found[:limit]), left=len(found))

    def picture(self, key: Key) -> bytes | None:
        """The image of a picture in the queue; None where it is not there, or was removed since.

        Raises:
            LabellingError: the queue cannot be read.
        """
        queue = self._following.current()
        item = next((item for item in queue.items if item.key == key), None) if queue else None
        if item is None:
            return None
        try:
            return self._store.read(item.sha256)
        except KeepingError:
            return None

    def _is_open_to(self, reviewer: str, item: Item, readers: int) -> bool:
        # who has labelled it at the bench, with the answer in sight, is asked again for the audit
        given = self._opinions.of(item.key, item.answered, blind=Why.AUDIT in item.why)
        asked = any(one.reviewer == reviewer for one in given)
        return not asked and standing([one.label for one in given if one.label], readers).state is State.OPEN


def _told(item: Item) -> Wanted:
    reasons = tuple(one.sentence for one in item.shown)
    return Wanted(request_id=item.request_id, picture=item.picture, why=item.shown, reasons=reasons)


router = APIRouter(tags=["v1"])
Reviews = Annotated[Caller, Depends(needs(Role.REVIEW))]


@router.get("/v1/queue", responses=_FAULTS)
async def wanted(request: Request, caller: Reviews, limit: Annotated[int, Query(ge=1, le=MOST)] = 20) -> WantedAnswer:
    """Answered pictures that the caller is asked to look at. Labels go to `/v1/labels`."""
    shown: ShownQueue = request.app.state.queue
    return await run_in_threadpool(shown.wanted, caller.name, limit)


@router.get(
    "/v1/queue/{request_id}/{picture}",
    dependencies=[Depends(needs(Role.REVIEW))],
    response_class=Response,
    responses={
        **_FAULTS,
        200: {"content": {kind: {} for kind in _MEDIA_TYPES}, "description": "The picture as it was sent"},
        404: {"model": Fault, "description": "It is not in the queue, or its image is kept no more"},
    },
)
async def picture(
    request: Request,
    request_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{5,63}$")],
    picture: Annotated[int, Path(ge=0, le=1_000_000)],
) -> Response:
    """One picture of the queue, as it was sent."""
    shown: ShownQueue = request.app.state.queue
    payload = await run_in_threadpool(shown.picture, Key(request_id, picture))
    if payload is None:
        raise HTTPException(
            404, "This picture is not in the queue, or its image is kept no more. Ask for the next ones."
        )
    return Response(
        payload,
        media_type=kind_of(payload).media_type,
        headers={"Cache-Control": "no-store", "Content-Disposition": "inline", "X-Content-Type-Options": "nosniff"},
    )
