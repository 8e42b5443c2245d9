"""Smears in work and done, as files below the state folder: any worker process can tell of any job.

Each job is a folder: ``job.json`` (replaced as a whole), ``lock`` (held by the process that works on it), ``spool/``
(pictures, until they are read) and, once done, ``report.json``, ``report.html``, ``cells.csv``. A job that says it is
running while nobody holds its lock was left by a process that ended: it is told as lost.
"""

import fcntl
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.errors import KeepingError, TooManySmears

logger = logging.getLogger(__name__)

AT_ONCE, AT_ONCE_OF_A_USER = 4, 2
"""Smears that are received or worked on, in all processes together."""

KEPT, HOURS = 64, 24
"""Jobs that are kept after they ended, and for how long."""

JOB, LOCK, SPOOL = "job.json", "lock", "spool"
REPORT, PAGE, CELLS = "report.json", "report.html", "cells.csv"

_ID = re.compile(r"[0-9a-f]{32}")
_DOOR = ".door"


class State(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


class Job(BaseModel):
    """``job.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    owner: str
    created: datetime
    state: State = State.RUNNING
    pictures: int = Field(default=0, ge=0)
    """0 until all are received."""
    read: int = Field(default=0, ge=0)
    detail: str = ""
    """Why it failed or is lost."""


class JobFolder:
    """One job, held by this process until it is closed."""

    def __init__(self, path: Path, job: Job, lock: int) -> None:
        self.path, self.job, self._lock = path, job, lock

    @property
    def spool(self) -> Path:
        """Where its pictures lie."""
        return self.path / SPOOL

    def update(self, **changes: object) -> None:
        """Replace the record; readers find the old one or the new one."""
        self.job = Job.model_validate({**self.job.model_dump(), **changes})
        _replace(self.path / JOB, self.job.model_dump_json())

    def write(self, name: str, content: str) -> None:
        """A file beside the record."""
        _replace(self.path / name, content)

    def close(self, *, keep: bool) -> None:
        """Let go of it: the pictures go in any case, the rest where it is not to be kept."""
        shutil.rmtree(self.spool if keep else self.path, ignore_errors=True)
        os.close(self._lock)


class Jobs:
    """The folder of jobs. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, owner: str) -> JobFolder:
        """A new job, held by this process; what is too old goes.

        Raises:
            TooManySmears: as many as may be are in work.
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._one_at_the_door():
            running = [job for job in self._sweep() if job.state is State.RUNNING]
            if len(running) >= AT_ONCE or sum(job.owner == owner for job in running) >= AT_ONCE_OF_A_USER:
                raise TooManySmears
            job = Job(id=uuid.uuid4().hex, owner=owner, created=datetime.now(UTC))
            path = self._folder / job.id
            path.mkdir(mode=0o700)
            (path / SPOOL).mkdir(mode=0o700)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = JobFolder(path, job, lock)
            found.update()
            return found

    def sweep(self) -> None:
        """Remove what is too old, and pictures that a process left which ended; for when a process starts."""
        try:
            if self._folder.is_dir():
                with self._one_at_the_door():
                    self._sweep()
        except OSError as exc:
            logger.error("Smears in %s cannot be cleared away: %s", self._folder, exc)

    def find(self, job_id: str, owner: str) -> tuple[Job, Path] | None:
        """A user's job and its folder; None where there is none, or it is another's."""
        if not _ID.fullmatch(job_id):
            return None
        path = self._folder / job_id
        job = _read(path)
        return (job, path) if job is not None and job.owner == owner and not _is_old(job) else None

    def erase(self, specimen: str) -> int:
        """Remove the results that name a specimen; how many there were.

        One that is still in work is not found: it is done within minutes, and gone in :data:`HOURS`.

        Raises:
            KeepingError: something could not be removed; the same call goes on where it was.
        """
        if not self._folder.is_dir():
            return 0
        try:
            with self._one_at_the_door():
                found = [path for path in self._folder.iterdir() if _ID.fullmatch(path.name) and _names(path, specimen)]
                for path in found:
                    shutil.rmtree(path)
        except OSError as exc:
            raise KeepingError(
                f"The reports of smears in {self._folder} could not be removed: {exc}. Run the same command again, as "
                "the account that the service runs as."
            ) from exc
        return len(found)

    def _sweep(self) -> list[Job]:
        """The jobs that are there, newest first; too old ones and those beyond the limit are removed."""
        found: list[Job] = []
        for path in self._folder.iterdir():
            if not _ID.fullmatch(path.name):
                continue
            job = _read(path)
            if job is None:
                shutil.rmtree(path, ignore_errors=True)  # a process ended between folder and record
                continue
            found.append(job)
            if job.state is State.LOST:
                shutil.rmtree(path / SPOOL, ignore_errors=True)
        found.sort(key=lambda job: job.created, reverse=True)
        kept: list[Job] = []
        ended = 0
        for job in found:
            ended += job.state is not State.RUNNING
            if job.state is not State.RUNNING and (ended > KEPT or _is_old(job)):
                shutil.rmtree(self._folder / job.id, ignore_errors=True)
            else:
                kept.append(job)
        return kept

    @contextmanager
    def _one_at_the_door(self) -> Iterator[None]:
        with (self._folder / _DOOR).open("w") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            yield


def _read(path: Path) -> Job | None:
    """The job in a folder, as it truly is: one that nobody works on any more is lost."""
    try:
        job = Job.model_validate_json((path / JOB).read_bytes())
        if job.state is not State.RUNNING or _is_held(path / LOCK):
            return job
        # between the two looks it may have come to its end
        job = Job.model_validate_json((path / JOB).read_bytes())
    except (OSError, ValidationError):
        return None
    if job.state is not State.RUNNING:
        return job
    detail = "The process that worked on this smear ended before it was done. Send the pictures again."
    return job.model_copy(update={"state": State.LOST, "detail": detail})


def _names(path: Path, specimen: str) -> bool:
    try:
        return bool(json.loads((path / REPORT).read_bytes())["specimen"] == specimen)
    except (FileNotFoundError, ValueError, KeyError):  # not done, or never
        return False


def _is_old(job: Job) -> bool:
    return job.state is not State.RUNNING and datetime.now(UTC) - job.created > timedelta(hours=HOURS)


def _is_held(lock: Path) -> bool:
    with lock.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _replace(path: Path, content: str) -> None:
    unfinished = path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")
    try:
        unfinished.write_text(content, encoding="utf-8", errors="backslashreplace", newline="")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
