"""``/v1/smears``: many pictures in, a job id out; the differential when all are read."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from bloodyspy.errors import BloodySpyError, TooManySmears, full_disk
from bloodyspy.kept import Kept
from bloodyspy.observation import Observation, Origin
from bloodyspy.serving.answers import Fault
from bloodyspy.serving.authentication import Caller
from bloodyspy.serving.bodies import faults
from bloodyspy.serving.keeping import Keeper
from bloodyspy.serving.metrics import Metrics
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.serving.roles import Role
from bloodyspy.serving.routes import PICTURES, Classifies, SentOrigin
from bloodyspy.serving.served import Served, ServedModel
from bloodyspy.serving.shadow import Shadow
from bloodyspy.serving.smear_jobs import CELLS, HOURS, PAGE, REPORT, Job, JobFolder, Jobs, State
from bloodyspy.serving.smear_uploads import (
    MAX_BODY,
    MAX_PICTURES,
    Received,
    is_zip,
    members,
    open_zip,
    receive,
    unpack,
)
from bloodyspy.smear.differential import Question
from bloodyspy.smear.reading import Before, Cell, gallery, read_cells, table
from bloodyspy.smear.report import SmearReport, page
from bloodyspy.specimen import SCHEMA, check

logger = logging.getLogger(__name__)

RETRY_AFTER = "15"
"""Seconds, with each 429."""

_BEFORE = TypeAdapter(list[Before])

_TOLD_EVERY = 0.5  # seconds between two records of how far a job is
_SWEPT_EVERY = 3600.0  # seconds

_PAGE_POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": description}
    for status, description in (
        (400, "The form is not well formed"),
        (401, "No credentials, or wrong ones"),
        (403, "The role is too small"),
        (404, "No such smear, or another user's"),
        (409, "The smear is not done"),
        (413, f"More than {MAX_BODY >> 20} MB or {MAX_PICTURES:,} pictures, or a zip that grows too much"),
        (415, "Not multipart/form-data"),
        (422, "No picture, or a specimen that is no pseudonym"),
        (429, "As many smears as may be are in work, too many requests, or failed sign-ins"),
        (503, "No users file, or no model released yet"),
        (507, "No space is left for the pictures"),
    )
}

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
                        "specimen": {"type": "string", **SCHEMA, "description": "a pseudonym"},
                        "cells": {
                            "type": "string",
                            "description": "where /v1/classify answered the files before: a JSON list with, for each "
                            'file in turn, {"request_id": ..., "picture": ..., "label": ...}. They are not logged a '
                            "second time, and labels (which need the role `review`) count in the place of answers.",
                        },
                    },
                },
                "encoding": {"files": {"contentType": f"{PICTURES}, application/zip"}},
            }
        },
    }
}


class Csv(Response):
    """A table."""

    media_type = "text/csv"


class SmearAnswer(BaseModel):
    """How far a smear is, and what came of it."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: State
    created: datetime
    pictures: int = Field(description="of the smear; 0 until all are received")
    read: int = Field(description="pictures that were read")
    detail: str = Field(description="why it failed or is lost")
    report: SmearReport | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done for one smear."""

    served: Served
    received: Received
    question: Question
    request_id: str
    before: list[Before] | None
    """Where each file was answered before; None where none was."""
    reviewer: str
    """Who sends it, and has given the labels."""
    origin: Origin


class SmearWork:
    """Works on the smears that this process received, one at a time, in a thread of its own."""

    def __init__(
        self, folder: Path, model: ServedModel, log: ObservationLog, metrics: Metrics, keeper: Keeper, shadow: Shadow
    ) -> None:
        self.jobs = Jobs(folder)
        self.jobs.sweep()
        self.model = model
        self._log, self._metrics, self._keeper, self._shadow = log, metrics, keeper, shadow
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="smears")

    def start(self, held: JobFolder, order: Order) -> None:
        """Take up a job; its folder is let go of when it is done."""
        self._pool.submit(self._work, held, order)

    async def sweep(self) -> None:
        """Clear away what is too old, every hour, whether anybody sends a smear or not."""
        while True:
            await asyncio.sleep(_SWEPT_EVERY)
            await run_in_threadpool(self.jobs.sweep)

    def close(self) -> None:
        """Finish what was accepted."""
        self._pool.shutdown(wait=True)

    def _work(self, held: JobFolder, order: Order) -> None:
        try:
            self._read(held, order)
        except (BloodySpyError, HTTPException) as exc:
            _fail(held, exc.detail if isinstance(exc, HTTPException) else str(exc))
        except OSError as exc:
            logger.error("Smear %s failed: %s", held.job.id, exc)
            _fail(held, "No space is left for its pictures." if full_disk(exc) else f"Its files cannot be used: {exc}.")
        except Exception:  # nobody waits for this thread's result: what nobody foresaw is told in the job and the log
            logger.exception("Smear %s broke", held.job.id)
            _fail(held, "The service failed on this smear; its log says why.")
        finally:
            held.close(keep=True)

    def _read(self, held: JobFolder, order: Order) -> None:
        served, received = order.served, order.received
        files = list(_unpacked(received, held.spool))
        held.update(pictures=len(files))
        cells: list[Cell] = []
        told = time.monotonic()
        known: Sequence[Before | None] = order.before or [None] * len(files)
        for picture, (read, before) in enumerate(
            zip(read_cells(served.classifier, files, threads=1), known, strict=True)
        ):
            cell = replace(read, before=before)
            cells.append(cell)
            if cell.observation is not None and before is None:
                self._note(cell.file, cell.observation, picture, order)
            if time.monotonic() - told > _TOLD_EVERY:
                told = time.monotonic()
                held.update(read=len(cells))
        artefact, specimen = served.classifier.artefact, received.fields.get("specimen") or None
        version = served.release.version
        report = SmearReport.of(cells, artefact, specimen, version, order.question, order.reviewer)
        held.write(REPORT, report.model_dump_json())
        held.write(CELLS, table(cells, report.run_id))
        held.write(PAGE, page(report, gallery(cells)))
        held.update(state=State.DONE, read=len(cells))

    def _note(self, file: Path, observation: Observation, picture: int, order: Order) -> None:
        """What is done with every picture that is answered for the first time."""
        self._log.append([observation], order.request_id, order.served.release.version, picture, order.origin)
        self._metrics.picture(observation)
        payload, action = file.read_bytes(), str(observation.verdict.action)
        self._keeper.offer(Kept(payload, order.origin.specimen, order.request_id, picture, action))
        self._shadow.offer(payload, order.request_id, picture, order.origin)


router = APIRouter(tags=["v1"])


@router.post("/v1/smears", status_code=202, responses=_FAULTS, openapi_extra=_FORM)
async def send_smear(
    request: Request,
    response: Response,
    caller: Classifies,
    origin: SentOrigin,
    ig_limit: Annotated[float, Query(gt=0, lt=100, description="percent of ig that is flagged above")] = 2.0,
    half_width: Annotated[float, Query(gt=0, le=50, description="points; the wanted precision")] = 5.0,
) -> SmearAnswer:
    """Take the pictures of one smear, as files or as one zip; the answer names the job that works on them."""
    work: SmearWork = request.app.state.smears
    served = work.model.current()
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY:
        raise HTTPException(413, f"A smear may have {MAX_BODY >> 20} MB. Send fewer or smaller pictures.")
    try:
        held = await run_in_threadpool(work.jobs.begin, caller.name)
        accepted = False
        try:
            received = await receive(request.headers.get("content-type", ""), request.stream(), held.spool)
            pictures = await run_in_threadpool(_checked, received)
            before = await run_in_threadpool(_before, received, caller)
            held.update(pictures=pictures)
            question = Question(ig_limit=ig_limit, half_width=half_width)
            request_id, specimen = request.state.request_id, received.fields.get("specimen")
            origin = replace(origin, specimen=check(specimen) if specimen else "")
            work.start(held, Order(served, received, question, request_id, before, caller.name, origin))
            accepted = True
        finally:
            if not accepted:
                held.close(keep=False)
    except TooManySmears as exc:
        raise HTTPException(429, str(exc), {"Retry-After": RETRY_AFTER}) from exc
    except OSError as exc:
        if full_disk(exc) is None:
            raise
        raise HTTPException(507, "No space is left for the pictures. Tell whoever runs the service.") from exc
    response.headers["Location"] = f"/v1/smears/{held.job.id}"
    return _answer(held.job)


@router.get("/v1/smears/{job_id}", responses={k: _FAULTS[k] for k in (401, 403, 404, 429, 503)})
async def smear(request: Request, job_id: str, caller: Classifies) -> SmearAnswer:
    """How far a smear is; its report once it is done. Kept for a day."""
    return await run_in_threadpool(_told, request.app.state.smears, job_id, caller.name)


@router.get(
    "/v1/smears/{job_id}/report.html",
    response_class=HTMLResponse,
    responses={k: _FAULTS[k] for k in (401, 403, 404, 409, 429, 503)},
)
async def smear_page(request: Request, job_id: str, caller: Classifies) -> HTMLResponse:
    """The report as a page to print."""
    content = await run_in_threadpool(_file, request.app.state.smears, job_id, caller.name, PAGE)
    return HTMLResponse(content, headers=_PAGE_POLICY)


@router.get(
    "/v1/smears/{job_id}/cells.csv",
    response_class=Csv,
    responses={k: _FAULTS[k] for k in (401, 403, 404, 409, 429, 503)},
)
async def smear_cells(request: Request, job_id: str, caller: Classifies) -> Csv:
    """Every picture's answer, one row each."""
    content = await run_in_threadpool(_file, request.app.state.smears, job_id, caller.name, CELLS)
    headers = {"Content-Disposition": 'attachment; filename="cells.csv"', "Cache-Control": "no-store"}
    return Csv(content, headers=headers)


def _checked(received: Received) -> int:
    """Pictures that were received, those inside of one zip too."""
    if specimen := received.fields.get("specimen"):
        check(specimen)
    if not _is_one_zip(received):
        return len(received.files)
    place, _ = received.files[0]
    with open_zip(place) as archive:
        return len(members(archive, place.stat().st_size))


def _before(received: Received, caller: Caller) -> list[Before] | None:
    """Where the files were answered before, if that is said."""
    told = received.fields.get("cells")
    if told is None:
        return None
    if _is_one_zip(received):
        raise HTTPException(422, "The field `cells` goes with files, not with a zip.")
    try:
        before = _BEFORE.validate_json(told)
    except ValidationError as exc:
        raise HTTPException(422, f"The field `cells`: {faults(exc)}") from exc
    if len(before) != len(received.files):
        sent = len(received.files)
        raise HTTPException(422, f"The field `cells` tells of {len(before):,} files; {sent:,} were sent.")
    if any(one.label for one in before) and not caller.role.includes(Role.REVIEW):
        raise HTTPException(403, f"Labels need the role `{Role.REVIEW}`; you have `{caller.role}`.")
    return before


def _is_one_zip(received: Received) -> bool:
    return len(received.files) == 1 and is_zip(received.files[0][0])


def _unpacked(received: Received, folder: Path) -> Iterator[tuple[Path, str]]:
    if not _is_one_zip(received):
        yield from received.files
        return
    place, _ = received.files[0]
    yield from unpack(place, folder)
    place.unlink()


def _fail(held: JobFolder, detail: str) -> None:
    try:
        held.update(state=State.FAILED, detail=detail)
    except OSError as exc:  # then nobody holds it any more, and it is told as lost
        logger.error("Smear %s failed, and that cannot be written: %s", held.job.id, exc)


def _found(work: SmearWork, job_id: str, user: str) -> tuple[Job, Path]:
    found = work.jobs.find(job_id, user)
    if found is None:
        raise HTTPException(404, f"There is no such smear of yours. They are kept for {HOURS} hours.")
    return found


def _told(work: SmearWork, job_id: str, user: str) -> SmearAnswer:
    job, path = _found(work, job_id, user)
    if job.state is not State.DONE:
        return _answer(job)
    return _answer(job, SmearReport.model_validate_json(_read(path / REPORT)))


def _file(work: SmearWork, job_id: str, user: str, name: str) -> str:
    job, path = _found(work, job_id, user)
    if job.state is not State.DONE:
        raise HTTPException(409, job.detail or f"The smear is not done: {job.read:,} of {job.pictures:,} pictures.")
    return _read(path / name)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as exc:  # it was too old this very moment
        raise HTTPException(404, f"There is no such smear of yours. They are kept for {HOURS} hours.") from exc


def _answer(job: Job, report: SmearReport | None = None) -> SmearAnswer:
    told = job.model_dump(exclude={"owner"})
    return SmearAnswer(**told, report=report)
