"""The end-points: what the original BloodySpy answered, and the full answer under ``/v1``."""

import asyncio
import base64
import binascii
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.openapi.models import HTTPBase
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBasicCredentials
from fastapi.security.base import SecurityBase
from fastapi.security.utils import get_authorization_scheme_param

from bloodyspy.errors import ImageError
from bloodyspy.model.artifact import CARD, CARD_HTML
from bloodyspy.serving.answers import (
    Classification,
    Fault,
    ImageAnswer,
    Refusal,
    ServedModelAnswer,
    Status,
    classification,
    images_answer,
    model_name,
)
from bloodyspy.serving.authentication import Users
from bloodyspy.serving.house import House
from bloodyspy.serving.reading import Reader, Reading
from bloodyspy.serving.served import ServedModel
from bloodyspy.serving.uploads import MAX_BODY, MAX_FILES, Upload, receive_uploads

_REALM = {"WWW-Authenticate": 'Basic realm="BloodySpy", charset="UTF-8"'}

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
        (401, "Name or password missing or wrong"),
        (413, f"More than {MAX_BODY // 1024 // 1024} MB, {MAX_FILES} files, or too many pixels"),
        (415, "Not multipart/form-data"),
        (422, "No file, or not a readable picture"),
        (429, "As much to do as is taken in; Retry-After says when to come again"),
        (503, "No users file, or no model released yet"),
    )
}


def _form(field: str, several: bool) -> dict[str, Any]:
    """OpenAPI's words for a form with files; the routes read it themselves, after the credentials."""
    file = {"type": "string", "format": "binary"}
    schema = {"type": "array", "items": file, "minItems": 1, "maxItems": MAX_FILES} if several else file
    form = {"type": "object", "required": [field], "properties": {field: schema}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


@dataclass(frozen=True, slots=True)
class Desk:
    """What the end-points need."""

    model: ServedModel
    users: Users
    house: House
    reader: Reader
    doorman: ThreadPoolExecutor
    """Checks passwords, one at a time: guessing them does not slow the classifying down."""


class _Utf8Basic(SecurityBase):
    """HTTP Basic that reads UTF-8, as the realm promises (RFC 7617); FastAPI's own reads ASCII only."""

    def __init__(self) -> None:
        self.model = HTTPBase(scheme="basic", description="A user of the file that BLOODYSPY_USERS_FILE names.")
        self.scheme_name = "HTTPBasic"

    async def __call__(self, request: Request) -> HTTPBasicCredentials | None:
        scheme, encoded = get_authorization_scheme_param(request.headers.get("Authorization"))
        if scheme.lower() != "basic":
            return None
        try:
            name, separator, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return None
        return HTTPBasicCredentials(username=name, password=password) if separator else None


_basic = _Utf8Basic()


async def signed_in(request: Request, given: Annotated[HTTPBasicCredentials | None, Depends(_basic)]) -> str:
    """The user's name, from HTTP Basic.

    Raises:
        HTTPException: 401.
        UsersUnavailable: nobody can sign in.
    """
    desk: Desk = request.app.state.desk
    name, password = (given.username, given.password) if given else ("", "")
    if desk.users.remembered(name, password):
        return name
    if given is None:
        raise HTTPException(401, "Sign in with a name and a password (HTTP Basic).", headers=_REALM)
    if not await asyncio.get_running_loop().run_in_executor(desk.doorman, desk.users.verify, name, password):
        raise HTTPException(401, "The name or the password is wrong.", headers=_REALM)
    return name


CLASSIFYING = frozenset({"/bloodyspy/image", "/bloodyspy/images", "/v1/classify"})
"""Paths that take pictures."""

User = Annotated[str, Depends(signed_in)]
router = APIRouter()


@router.get("/bloodyspy/status", tags=["original"])
async def status() -> Status:
    """Whether the service answers. Needs no credentials."""
    return Status(message="BloodySpy is here. Nobody needs to sign in to read this.")


@router.get("/bloodyspy/authorization", tags=["original"], responses={k: _FAULTS[k] for k in (401, 503)})
async def authorization(user: User) -> Status:
    """Whether the name and the password are right."""
    return Status(message=f"Welcome, {user}.")


@router.post("/bloodyspy/image/", include_in_schema=False)
@router.post(
    "/bloodyspy/image",
    tags=["original"],
    response_model=ImageAnswer,
    responses=_FAULTS,
    openapi_extra=_form("file", several=False),
)
async def image(request: Request, user: User) -> Response:
    """The cell type of one picture, in percent."""
    uploads, reading = await _read(request, "file", most=1)
    (outcome,) = reading.outcomes
    if isinstance(outcome, ImageError):
        raise outcome
    return _json(ImageAnswer.of(uploads[0], outcome, reading.served, user).model_dump_json())


@router.post("/bloodyspy/images/", include_in_schema=False)
@router.post(
    "/bloodyspy/images",
    tags=["original"],
    response_model=dict[str, str | ImageAnswer | Refusal],
    responses=_FAULTS,
    openapi_extra=_form("files", several=True),
)
async def images(request: Request, user: User) -> Response:
    """The cell types of several pictures, each under its file name; a bad file has an `error` in that place."""
    uploads, reading = await _read(request, "files")
    return _json(images_answer(uploads, reading, user))


@router.post(
    "/v1/classify",
    tags=["v1"],
    response_model=Classification,
    responses=_FAULTS,
    openapi_extra=_form("files", several=True),
)
async def classify(request: Request, user: User) -> Response:
    """The full answer for one picture or many: probabilities, image statistics, and which model says so.

    A bad file has an `error` in its place; where no file at all is a picture, the status is 413 or 422.
    """
    uploads, reading = await _read(request, "files", "file")
    if all(isinstance(outcome, ImageError) for outcome in reading.outcomes):
        raise next(outcome for outcome in reading.outcomes if isinstance(outcome, ImageError))
    return _json(classification(uploads, reading, request.state.request_id, user).model_dump_json())


@router.get("/v1/model", tags=["v1"], dependencies=[Depends(signed_in)], responses={k: _FAULTS[k] for k in (401, 503)})
async def model(request: Request) -> ServedModelAnswer:
    """The model that answers now: its facts and its card."""
    desk: Desk = request.app.state.desk
    served = desk.model.current()
    return ServedModelAnswer(
        model=model_name(served),
        model_version=served.release.version,
        digest=served.release.digest,
        spec=served.classifier.spec,
        card=(served.classifier.artefact.path / CARD).read_text(encoding="utf-8"),
    )


@router.get(
    "/v1/model/card",
    tags=["v1"],
    dependencies=[Depends(signed_in)],
    response_class=HTMLResponse,
    responses={k: _FAULTS[k] for k in (401, 503)},
)
async def card(request: Request) -> HTMLResponse:
    """The card of the model that answers now, as a page."""
    desk: Desk = request.app.state.desk
    artefact = desk.model.current().classifier.artefact
    return HTMLResponse((artefact.path / CARD_HTML).read_text(encoding="utf-8"), headers=_CARD_POLICY)


async def _read(request: Request, *fields: str, most: int = MAX_FILES) -> tuple[list[Upload], Reading]:
    """Take a request in, if there is room, and classify what it brought."""
    desk: Desk = request.app.state.desk
    with desk.house.visit() as visit:
        uploads = await receive_uploads(request, *fields, arrived=visit.arrived)
        if len(uploads) > most:
            raise HTTPException(422, "This end-point takes one picture. Send several to /bloodyspy/images.")
        visit.wait(len(uploads))
        return uploads, await desk.reader.read(uploads, request.state.request_id)


def _json(body: str | bytes) -> Response:
    """A finished answer: FastAPI would validate and serialise it once more."""
    return Response(body, media_type="application/json")
