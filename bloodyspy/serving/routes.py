"""The end-points: what the original BloodySpy answered, and the full answer under ``/v1``."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse

from bloodyspy.errors import ImageError
from bloodyspy.kept import Kept
from bloodyspy.model.artifact import CARD, CARD_HTML
from bloodyspy.observation import NOWHERE, Origin
from bloodyspy.policy import Reason
from bloodyspy.serving import tracing
from bloodyspy.serving.access import needs, signed_in
from bloodyspy.serving.answers import (
    CallerAnswer,
    Classification,
    Explanations,
    Fault,
    ImageAnswer,
    Refusal,
    ServedModelAnswer,
    Status,
    classification,
    explanations,
    images_answer,
    model_name,
)
from bloodyspy.serving.authentication import Caller
from bloodyspy.serving.house import House, Visit
from bloodyspy.serving.keeping import Keeper
from bloodyspy.serving.origin import sent_origin
from bloodyspy.serving.reading import Reader, Reading
from bloodyspy.serving.roles import Role
from bloodyspy.serving.served import ServedModel
from bloodyspy.serving.uploads import MAX_BODY, MAX_FILES, MAX_SECONDS, Upload, receive_uploads
from bloodyspy.specimen import SCHEMA, check

# The page is one file with its style inside; nothing else may be loaded or run, whatever a name in it says.
_CARD_POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": description}
    for status, description in (
        (400, "The form is not well formed"),
        (401, "No credentials, or wrong ones"),
        (403, "The role is too small"),
        (408, f"The body took more than {MAX_SECONDS} s"),
        (413, f"More than {MAX_BODY // 1024 // 1024} MB, {MAX_FILES} files, or too many pixels"),
        (415, "Not multipart/form-data"),
        (422, "No file, or not a readable picture"),
        (429, "Too many requests, failed sign-ins, or pictures to do; Retry-After says when to come again"),
        (503, "No users file, or no model released yet"),
    )
}

PICTURES = "image/jpeg, image/png, image/bmp, image/tiff"
"""What is taken, whatever type a part of a form says it is."""


def _form(field: str, several: bool, most: int = MAX_FILES) -> dict[str, Any]:
    """OpenAPI's words for a form with files; the routes read it themselves, after the credentials."""
    file = {"type": "string", "format": "binary"}
    schema = {"type": "array", "items": file, "minItems": 1, "maxItems": most} if several else file
    form = {"type": "object", "required": [field], "properties": {field: schema}}
    described = {"schema": form, "encoding": {field: {"contentType": PICTURES}}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": described}}}


@dataclass(frozen=True, slots=True)
class Desk:
    """What the end-points need."""

    model: ServedModel
    house: House
    reader: Reader
    keeper: Keeper

    def keep(self, uploads: list[Upload], reading: Reading, request_id: str, specimen: str = "") -> None:
        """Offer what was answered to the keeper."""
        for place, (upload, outcome) in enumerate(zip(uploads, reading.outcomes, strict=True)):
            if not isinstance(outcome, ImageError):
                self.keeper.offer(Kept(upload.payload, specimen, request_id, place, str(outcome.verdict.action)))


CLASSIFYING = frozenset({"/bloodyspy/image", "/bloodyspy/images", "/v1/classify", "/v1/explain"})
"""Paths that take pictures."""

EXPLAINED = 32
"""Pictures of one request that may be explained: each takes nine inferences."""

_TOO_MANY_TO_EXPLAIN = f"At most {EXPLAINED} pictures are explained at a time. Send them in parts."

Anybody = Annotated[Caller, Depends(signed_in)]
_READS = Depends(needs(Role.READ))
_SMALL = (401, 403, 429, 503)
Classifies = Annotated[Caller, Depends(needs(Role.CLASSIFY))]
# A header, because the query stands in the logs of proxies, and what is refused here may be a name.
Specimen = Annotated[
    str,
    Header(
        alias="X-Specimen-ID",
        description="pseudonym of the specimen, such as S-2024-00017; for kept images and the observation's row",
        json_schema_extra=dict(SCHEMA),
    ),
]
SentOrigin = Annotated[Origin, Depends(sent_origin)]
Explain = Annotated[bool, Query(description=f"with a heat map for each picture, at most {EXPLAINED} of them")]
router = APIRouter()


@router.get("/bloodyspy/status", tags=["original"])
async def status() -> Status:
    """Whether the service answers. Needs no credentials."""
    return Status(message="BloodySpy is here. Nobody needs to sign in to read this.")


@router.get("/bloodyspy/authorization", tags=["original"], responses={k: _FAULTS[k] for k in (401, 429, 503)})
async def authorization(caller: Anybody) -> Status:
    """Whether the credentials are right; any role will do."""
    return Status(message=f"Welcome, {caller.name}. Your role is {caller.role}.")


@router.post("/bloodyspy/image/", include_in_schema=False)
@router.post(
    "/bloodyspy/image",
    tags=["original"],
    response_model=ImageAnswer,
    responses=_FAULTS,
    openapi_extra=_form("file", several=False),
)
async def image(request: Request, caller: Classifies) -> Response:
    """The cell type of one picture, in percent."""
    uploads, reading = await _read(request, "file", most=1)
    (outcome,) = reading.outcomes
    if isinstance(outcome, ImageError):
        raise outcome
    return _json(ImageAnswer.of(uploads[0], outcome, reading.served, caller.name).model_dump_json())


@router.post("/bloodyspy/images/", include_in_schema=False)
@router.post(
    "/bloodyspy/images",
    tags=["original"],
    response_model=dict[str, str | ImageAnswer | Refusal],
    responses=_FAULTS,
    openapi_extra=_form("files", several=True),
)
async def images(request: Request, caller: Classifies) -> Response:
    """The cell types of several pictures, each under its file name; a bad file has an `error` in that place."""
    uploads, reading = await _read(request, "files")
    return _json(images_answer(uploads, reading, caller.name))


@router.post(
    "/v1/classify",
    tags=["v1"],
    response_model=Classification,
    responses=_FAULTS,
    openapi_extra=_form("files", several=True),
)
async def classify(
    request: Request, caller: Classifies, origin: SentOrigin, specimen: Specimen = "", explain: Explain = False
) -> Response:
    """The full answer for one picture or many: probabilities, whether to believe it, and which model says so.

    A bad file has an `error` in its place; where no file at all is a picture, the status is 413 or 422.
    """
    origin = replace(origin, specimen=check(specimen) if specimen else "")
    uploads, reading = await _read(request, "files", "file", origin=origin, explain=explain)
    if all(isinstance(outcome, ImageError) for outcome in reading.outcomes):
        raise next(outcome for outcome in reading.outcomes if isinstance(outcome, ImageError))
    return _json(classification(uploads, reading, request.state.request_id, caller.name).model_dump_json())


@router.post(
    "/v1/explain",
    tags=["v1"],
    response_model=Explanations,
    dependencies=[Depends(needs(Role.CLASSIFY))],
    responses=_FAULTS,
    openapi_extra=_form("files", several=True, most=EXPLAINED),
)
async def explain(request: Request) -> Response:
    """Heat maps for pictures that were answered before: nothing is logged or kept of them a second time."""
    desk: Desk = request.app.state.desk
    served = desk.model.current()
    with desk.house.visit() as visit:
        fields = ("files", "file")
        uploads = await _receive(request, visit, *fields, most=EXPLAINED, otherwise=_TOO_MANY_TO_EXPLAIN)
        found = await desk.reader.explain(uploads, served)
    request.state.model_version = served.release.version
    if all(isinstance(one, ImageError) for one in found):
        raise next(one for one in found if isinstance(one, ImageError))
    return _json(explanations(uploads, found, served, request.state.request_id).model_dump_json())


@router.get("/v1/caller", tags=["v1"], responses={k: _FAULTS[k] for k in (401, 429, 503)})
async def who(caller: Anybody) -> CallerAnswer:
    """Whose the credentials are, and what they allow."""
    return CallerAnswer(name=caller.name, role=caller.role)


@router.get("/v1/model", tags=["v1"], dependencies=[_READS], responses={k: _FAULTS[k] for k in _SMALL})
async def model(request: Request) -> ServedModelAnswer:
    """The model that answers now: its facts and its card."""
    desk: Desk = request.app.state.desk
    served = desk.model.current()
    return ServedModelAnswer(
        model=model_name(served),
        model_version=served.release.version,
        digest=served.release.digest,
        spec=served.classifier.spec,
        policy=served.classifier.policy,
        reasons={reason: reason.sentence for reason in Reason},
        card=(served.classifier.artefact.path / CARD).read_text(encoding="utf-8"),
    )


@router.get(
    "/v1/model/card",
    tags=["v1"],
    dependencies=[_READS],
    response_class=HTMLResponse,
    responses={k: _FAULTS[k] for k in _SMALL},
)
async def card(request: Request) -> HTMLResponse:
    """The card of the model that answers now, as a page."""
    desk: Desk = request.app.state.desk
    artefact = desk.model.current().classifier.artefact
    return HTMLResponse((artefact.path / CARD_HTML).read_text(encoding="utf-8"), headers=_CARD_POLICY)


async def _read(
    request: Request, *fields: str, most: int = MAX_FILES, origin: Origin = NOWHERE, explain: bool = False
) -> tuple[list[Upload], Reading]:
    """Take a request in, if there is room, classify what it brought, and offer it to the keeper."""
    desk: Desk = request.app.state.desk
    otherwise = "This end-point takes one picture. Send several to /bloodyspy/images."
    if explain:
        most, otherwise = EXPLAINED, _TOO_MANY_TO_EXPLAIN
    with desk.house.visit() as visit:
        uploads = await _receive(request, visit, *fields, most=most, otherwise=otherwise)
        reading = await desk.reader.read(uploads, request.state.request_id, origin)
        if explain:
            reading = replace(reading, explanations=await desk.reader.explain(uploads, reading.served))
    request.state.model_version = reading.served.release.version
    desk.keep(uploads, reading, request.state.request_id, origin.specimen)
    return uploads, reading


async def _receive(request: Request, visit: Visit, *fields: str, most: int, otherwise: str) -> list[Upload]:
    """The uploads of a request, at most so many of them, which wait from now on."""
    with tracing.span("read upload"):
        uploads = await receive_uploads(request, *fields, arrived=visit.arrived)
    request.state.files = len(uploads)
    if len(uploads) > most:
        raise HTTPException(422, otherwise)
    visit.wait(len(uploads))
    return uploads


def _json(body: str | bytes) -> Response:
    """A finished answer: FastAPI would validate and serialise it once more."""
    return Response(body, media_type="application/json")
