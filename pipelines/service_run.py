"""The real service for the length of a block: started from a bento, asked over HTTP, stopped with all it started."""

import logging
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pandas as pd
from pydantic import BaseModel, ConfigDict

from bloodyspy import leash
from bloodyspy.adapters import registry
from bloodyspy.cells import CellType
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.errors import ServiceError
from bloodyspy.evaluation.scoring import part_of
from bloodyspy.images.corruption import Shift, shift_payload
from bloodyspy.model.artifact import Artefact
from bloodyspy.promotion import ledger
from bloodyspy.promotion.events import Why
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.answers import Classification, Classified, ImageAnswer
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

START_SECONDS = 120.0  # it is ready in 2 s on an idle machine
ANSWER_SECONDS = 60.0
STOP_SECONDS = 30.0
FILES = 16  # of one request
USER = "lifecycle"


@dataclass(frozen=True, slots=True)
class Picture:
    """A held-out picture as it would be sent."""

    path: str
    cell_type: CellType
    payload: bytes


class Answered(BaseModel):
    """What the service said of one picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Of the picture, relative to data/."""
    actual: CellType
    answer: ImageAnswer


@dataclass(frozen=True, slots=True)
class Service:
    """A service that answers."""

    url: str
    password: str
    log: Path
    """What it printed."""

    def ask(self, picture: Picture) -> Answered:
        """Send one picture to the end-point of the original BloodySpy.

        Raises:
            ServiceError: no answer, or another one than promised.
        """
        body = self._post("/bloodyspy/image", [("file", (Path(picture.path).name, picture.payload))])
        answer = ImageAnswer.model_validate_json(body)
        return Answered(path=picture.path, actual=picture.cell_type, answer=answer)

    def send(self, pictures: Sequence[Picture], description: str) -> float:
        """Send pictures to ``/v1/classify``, several to a request.

        Returns:
            The share that was classified as what it is, 0 to 1.

        Raises:
            ServiceError: a picture was refused, or there was no answer.
        """
        requests = [pictures[start : start + FILES] for start in range(0, len(pictures), FILES)]
        return sum(in_threads(self._classify, requests, description)) / len(pictures)

    def _classify(self, pictures: Sequence[Picture]) -> int:
        body = self._post("/v1/classify", [("files", (Path(p.path).name, p.payload)) for p in pictures])
        results = Classification.model_validate_json(body).results
        right = 0
        for picture, result in zip(pictures, results, strict=True):
            if not isinstance(result, Classified):
                raise ServiceError(f"The service refused {picture.path}: {result.error} Its log is {self.log}.")
            right += result.predicted is picture.cell_type
        return right

    def _post(self, path: str, files: list[tuple[str, tuple[str, bytes]]]) -> bytes:
        try:
            answer = httpx.post(
                self.url + path, files=files, auth=(USER, self.password), timeout=ANSWER_SECONDS, trust_env=False
            )
        except httpx.HTTPError as exc:
            raise ServiceError(f"The service does not answer {path} ({exc!r}). Its log is {self.log}.") from exc
        if not answer.is_success:
            raise ServiceError(f"The service answers {path} with {answer.status_code}: {answer.text[:300]}")
        return answer.content


@contextmanager
def running(bento: str, s: Settings, folder: Path) -> Iterator[Service]:
    """``bentoml serve`` of a bento on 127.0.0.1 and a free port, with one user made for it.

    Args:
        bento: tag of the bento.
        s: where BentoML's store is.
        folder: gets the users file, the log and, in ``observations``, the observation log.

    Raises:
        ServiceError: it does not become ready; the message ends with what it printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    password, log, users = secrets.token_urlsafe(24), folder / "service.log", folder / "users.json"
    add_user(users, USER, password, replace=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "bentoml", "serve", bento, "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        **os.environ,
        "BENTOML_HOME": str(s.bentoml_home),
        "BLOODYSPY_ROOT": str(s.root),
        "BLOODYSPY_STATE": str(folder),
        "BLOODYSPY_USERS_FILE": str(users),
        "BLOODYSPY_OBSERVATIONS": str(folder / "observations"),
    }
    with log.open("wb") as stream:
        process = subprocess.Popen(
            leash.command(*command),
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    service = Service(f"http://127.0.0.1:{port}", password, log)
    try:
        _await_ready(process, service)
        logger.info("%s answers at %s", bento, service.url)
        yield service
    finally:
        assert process.stdin is not None  # asked for above
        process.stdin.close()  # the leash ends the service and its workers
        process.wait(STOP_SECONDS)


def _await_ready(process: "subprocess.Popen[bytes]", service: Service) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{service.url}/readyz", timeout=5, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.1)
    said = service.log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
    raise ServiceError(f"The service did not become ready within {START_SECONDS:.0f} s. It said:\n{said}")


def held_out(s: Settings, count: int, version: int, seed: int = 0) -> list[Picture]:
    """Pictures that no network was fitted on, in the case mix of the data set.

    They are of the validation part, and where that has too few, of the sealed part as well: nothing is chosen or fitted
    by what comes of them, and the look is counted.

    Args:
        s: where things are.
        count: pictures wanted.
        version: of the model that they are for.
        seed: of the draw.

    Raises:
        DataMissing, DataError: there is no manifest, or a part is empty.
        AuditError: the look cannot be recorded.
    """
    rows = part_of(s, "validation")
    if len(rows) < count:
        artefact = Artefact.open(registry.artefact_of(version, s))
        sealed = ledger.for_version(s, Why.REHEARSAL, artefact, version)
        rows = pd.concat([rows, sealed.sample(min(count - len(rows), len(sealed)), random_state=seed)])
    rows = rows.sample(min(count, len(rows)), random_state=seed)
    return [
        Picture(path, CellType(cell), (s.data / path).read_bytes())
        for path, cell in zip(rows["path"], rows["cell_type"], strict=True)
    ]


def shifted(pictures: Sequence[Picture], kind: Shift, severity: int) -> list[Picture]:
    """The same pictures as another laboratory would have taken them."""

    def shift(picture: Picture) -> Picture:
        return Picture(picture.path, picture.cell_type, shift_payload(picture.payload, kind, severity))

    return in_threads(shift, pictures, f"Shifting {kind}")
