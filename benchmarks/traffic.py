"""Live traffic for a laboratory: pictures that nobody has trained on, the service, its clients and its reviewers.

All of it over HTTP, as clients and reviewers have it. Reviewers say what the folder of a picture says: they are as
good as the data set's own labels, which people at the bench are not.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from benchmarks.laboratory import command
from benchmarks.server import started
from bloodyspy.cells import CellType
from bloodyspy.images.corruption import Shift, shift_payload
from bloodyspy.settings import Settings

CLIENT, REVIEWERS = "scanner", ("anna", "ben")
AT_ONCE = 8
"""Pictures of one request."""

_PASSWORD = "correct horse battery"
_MOST = 200
"""Pictures that a reviewer asks for at a time."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, and what it shows."""

    payload: bytes
    cell_type: CellType

    @property
    def digest(self) -> str:
        """SHA-256 of its bytes, hex."""
        return hashlib.sha256(self.payload).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said of a picture."""

    version: int
    right: bool
    action: str


def divided(folder: Path, share: float) -> tuple[list[Path], list[Picture]]:
    """Pictures to import, and others for the traffic in an order that no label decides.

    An image goes to one side or the other by the end of its SHA-256, so its copies go with it; the project's own split
    goes by the beginning, and is not touched.

    Args:
        folder: with a folder for each type.
        share: of the images that are imported.

    Returns:
        The files to import, and the pictures of the traffic, each image once; none that stands under two labels.
    """
    imported, others = [], {}
    for path in sorted(folder.glob("*/[!.]*.jpg")):
        picture = Picture(path.read_bytes(), CellType(path.parent.name))
        digest = picture.digest
        if int(digest[-16:], 16) / 2**64 < share:
            imported.append(path)
        else:
            others.setdefault(digest, set()).add(picture)
    return imported, [one.pop() for _, one in sorted(others.items()) if len(one) == 1]


def shifted(pictures: Sequence[Picture], kind: Shift, severity: int) -> list[Picture]:
    """The same pictures with a fault."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda one: Picture(shift_payload(one.payload, kind, severity), one.cell_type), pictures))


@dataclass
class Clinic:
    """Clients and reviewers of one service."""

    url: str
    shown: dict[str, CellType] = field(default_factory=dict)
    """What each picture shows that was sent, by its digest: the reviewers' knowledge."""
    _requests: Iterator[int] = field(default_factory=count)

    def version(self) -> int:
        """The model version that answers now."""
        with self._signed_in(CLIENT) as client:
            return int(_json(client.get("/v1/model"))["model_version"])

    def send(self, pictures: Iterable[Picture]) -> list[Answer]:
        """Have pictures classified, several a request; their answers in order.

        The requests are numbered, so that one key of the audit draws the same answers whenever the same is sent.
        """
        waiting, answers = list(pictures), []
        self.shown |= {one.digest: one.cell_type for one in waiting}
        with self._signed_in(CLIENT) as client:
            for start in range(0, len(waiting), AT_ONCE):
                together = waiting[start : start + AT_ONCE]
                files = [("files", (f"{place}.jpg", one.payload)) for place, one in enumerate(together)]
                named = {"X-Request-ID": f"{CLIENT}-{next(self._requests):06}"}
                told = _json(client.post("/v1/classify", files=files, headers=named))
                answers += [
                    Answer(told["model_version"], said["predicted"] == one.cell_type, said["action"])
                    for one, said in zip(together, told["results"], strict=True)
                ]
        return answers

    def review(self) -> int:
        """Let both reviewers label what the queue shows them, until it shows them nothing; how many pictures it was."""
        with ThreadPoolExecutor(len(REVIEWERS)) as pool:
            return max(pool.map(self._label, REVIEWERS))

    def _label(self, reviewer: str) -> int:
        done = 0
        with self._signed_in(reviewer) as client:
            while items := _json(client.get("/v1/queue", params={"limit": _MOST}))["items"]:
                for item in items:
                    picture = client.get(f"/v1/queue/{item['request_id']}/{item['picture']}").raise_for_status()
                    label = self.shown[hashlib.sha256(picture.content).hexdigest()]
                    named = {"request_id": item["request_id"], "picture": item["picture"]}
                    client.post("/v1/labels", json={**named, "label": label, "blind": True}).raise_for_status()
                    done += 1
        return done

    def _signed_in(self, name: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, auth=(name, _PASSWORD), timeout=60, trust_env=False)


@contextmanager
def clinic(s: Settings) -> Iterator[Clinic]:
    """``bentoml serve`` in a laboratory, with its own code, and the accounts of those who use it."""
    environment = {
        "BENTOML_HOME": str(s.bentoml_home),
        "BLOODYSPY_USERS_FILE": str(s.state / "users.json"),
        "BLOODYSPY_KEEP_IMAGES": "all",
    }
    for name in (CLIENT, *REVIEWERS):
        role = "classify" if name == CLIENT else "review"
        command(s, "bloodyspy", "users", "add", name, "--role", role, given=f"{_PASSWORD}\n", **environment)
    words = ["-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", "{port}"]
    with started("bentoml serve", words, environment, s.root, s.state / "service.log", "/readyz") as (url, _, _):
        yield Clinic(url)


def _json(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()
