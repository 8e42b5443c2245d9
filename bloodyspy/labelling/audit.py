"""The random audit: which answers people check whatever the model said of them.

An answer is drawn by a keyed hash of its request and its place in it, so the draw can be made again at any time, by
whoever has the key, and by nobody else: it depends on no answer, no picture, and no moment of looking, and a client
that chooses the ids of its requests cannot choose what is drawn. ``var/labelling/audit.json`` has the key, and from
when on which share is drawn: what was answered before a share was raised could not be kept for it.
"""

import fcntl
import hashlib
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy import whole_file
from bloodyspy.errors import LabellingError
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

LEAD = timedelta(seconds=2)
"""Between the writing of a share and the first answers that it is of: a running service has read it by then."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Epoch(_Frozen):
    """A share, and from when on it is drawn."""

    since: datetime
    share: float = Field(ge=0, le=1)


class Audit(_Frozen):
    """What is drawn."""

    format: Literal[1] = 1
    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    epochs: tuple[Epoch, ...] = Field(min_length=1)

    def position(self, request_id: str, picture: int) -> float:
        """Where an answer lies in [0, 1), evenly and by chance: those below the share are drawn."""
        text = f"{picture}\n{request_id}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(text, key=bytes.fromhex(self.key), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def holds(self, request_id: str, picture: int, time: datetime) -> bool:
        """Whether an answer of that time is drawn."""
        share = next((epoch.share for epoch in reversed(self.epochs) if epoch.since <= time), 0.0)
        return self.position(request_id, picture) < share


def read_audit(path: Path) -> Audit | None:
    """The draw; None where none was begun.

    Raises:
        LabellingError: the file is damaged or cannot be read.
    """
    try:
        return Audit.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as exc:
        raise LabellingError(
            f"{path} does not say which answers are in the audit ({type(exc).__name__}). Restore it from a copy: "
            "another key draws other answers, whose images were not kept."
        ) from exc


def declare(s: Settings, share: float) -> Audit:
    """See that this share is drawn from now on; the first call begins the audit.

    Raises:
        LabellingError: the file is damaged, or cannot be written.
    """
    with _alone(s.audit):
        known = read_audit(s.audit)
        if known is not None and known.epochs[-1].share == share:
            return known
        begun = Epoch(since=datetime.now(UTC) + LEAD, share=share)
        if known is None:
            audit = Audit(key=secrets.token_hex(32), epochs=(begun,))
        else:
            audit = known.model_copy(update={"epochs": (*known.epochs, begun)})
        replace(s.audit, audit.model_dump_json(indent=1).encode())
        return audit


def replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another, whole and on the disk, or not at all; nobody else may read it.

    Raises:
        LabellingError: it cannot be written; the old one is there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole_file.replace(path, content)
    except OSError as exc:
        raise LabellingError(f"{path} cannot be written: {exc.strerror}. Mend that and run the same again.") from exc


class Auditor:
    """The draw as the service sees it: follows the file, and goes on with what it knew where that cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._audit: Audit | None = None

    def holds(self, request_id: str, picture: int) -> bool:
        """Whether an answer that is given now is drawn; never raises."""
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns)
        except OSError:
            seen = None
        if seen is not None and seen != self._seen:
            self._seen = seen
            try:
                self._audit = read_audit(self._path)
            except LabellingError as exc:
                logger.error("The random audit goes on as it was: %s", exc)
        return self._audit is not None and self._audit.holds(request_id, picture, datetime.now(UTC))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("a") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)  # the kernel lets go when the holder dies
            yield
    except OSError as exc:
        raise LabellingError(f"{path} cannot be written: {exc.strerror}. Mend that and run the same again.") from exc
