"""Mutated uploads at a real service, each answered or refused as in this process: BLOODYSPY_TEST_UPLOADS, or 400."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest
from mutated import KINDS, Mutant, mutant
from operated import prepared, total
from pictures import tinted
from running import Service, served

from bloodyspy.errors import ImageError, ImageTooLarge
from bloodyspy.model.classifier import Classifier
from bloodyspy.observation import Observation

# BentoML 1.4 asks pathspec for a pattern by its old name; Pillow tells of broken tags, which the service ignores.
pytestmark = [
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore:.* is deprecated and will be removed in Pillow:DeprecationWarning"),
    pytest.mark.timeout(7200),
]

UPLOADS = int(os.environ.get("BLOODYSPY_TEST_UPLOADS", "400"))
SECONDS = 30
"""For one answer: what takes longer hangs. The largest picture takes one."""

MB = 1 << 20
GROWTH = 64 * MB
"""What all processes of the service may hold more, between two requests, in the second half than in the first: what
the largest pictures took stays with the threads that decoded them. A leak of 26 kB a file shows in 10,000 of them."""


@dataclass
class Told:
    """What came of the files, by kind."""

    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def table(self) -> str:
        lines = [f"{'kind':24} {'sent':>6} {'answered':>9} {'413':>6} {'422':>6}"]
        for kind in KINDS:
            large, unreadable = (self.refused[kind, status] for status in (413, 422))
            lines.append(f"{kind:24} {self.sent[kind]:6} {self.answered[kind]:9} {large:6} {unreadable:6}")
        return "\n".join(lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


@pytest.fixture(scope="module")
def service(place: Path) -> Iterator[Service]:
    with served(place / "service.log", prepared(place).environment) as running:
        yield running


def test_mutated_drawn_cells(service: Service, place: Path) -> None:
    pictures = [tinted(seed) for seed in range(8)]
    send_all(service, place, range(UPLOADS // 2), pictures)


@pytest.mark.real
def test_mutated_real_cells(service: Service, place: Path, real_data: Path) -> None:
    folders = sorted(path for path in (real_data / "pbc").iterdir() if path.is_dir())
    pictures = [min(folder.glob("[!.]*.jpg")).read_bytes() for folder in folders]
    assert len(pictures) == 8
    send_all(service, place, range(UPLOADS // 2, UPLOADS), pictures)


def send_all(service: Service, place: Path, numbers: range, pictures: list[bytes]) -> None:
    """Send them all, some alone and some together, and hold every answer against the one of this process."""
    classifier, told, draw = Classifier.load(place / "artefact"), Told(), Random(f"requests {numbers}")
    workers = processes(service)
    held: list[int] = []
    with service.client() as client:
        client.timeout = httpx.Timeout(SECONDS)
        left = list(numbers)
        while left:
            together = draw.choice((1, 1, 1, draw.randint(2, 8)))
            some, left = left[:together], left[together:]
            mutants = [mutant(number, pictures) for number in some]
            expected = classifier.observe_all([one.payload for one in mutants])
            told.sent.update(one.kind for one in mutants)
            faults = asked(client, mutants, expected, alone=together == 1 and draw.random() < 0.2, told=told)
            told.wrong += [f"{some}, {[one.kind for one in mutants]}: {fault}" for fault in faults]
            held.append(memory(workers))
        assert client.post("/v1/classify", files={"files": pictures[0]}).status_code == 200
    middle = len(held) // 2
    first, second = max(held[:middle]), max(held[middle:])
    print(f"\n{told.table()}\nmemory at most: first half {first >> 20} MB, second half {second >> 20} MB")  # noqa: T201
    assert told.wrong == []
    assert second - first < GROWTH
    assert processes(service) == workers
    assert total(service.url, "bloodyspy_workers_lost_total") == 0
    assert "Traceback" not in service.log.read_text()


def asked(
    client: httpx.Client, mutants: list[Mutant], expected: list[Observation | ImageError], *, alone: bool, told: Told
) -> Iterator[str]:
    """What is wrong with the answer to one request."""
    form = [("file" if alone else "files", (f"{number}", one.payload)) for number, one in enumerate(mutants)]
    try:
        answer = client.post("/bloodyspy/image" if alone else "/v1/classify", files=form)
    except httpx.HTTPError as exc:
        yield repr(exc)
        return
    for one, outcome in zip(mutants, expected, strict=True):
        if isinstance(outcome, ImageError):
            told.refused[one.kind, status_of(outcome)] += 1
        else:
            told.answered[one.kind] += 1
    refusals = [outcome for outcome in expected if isinstance(outcome, ImageError)]
    if len(refusals) == len(expected):
        first, said = refusals[0], (answer.status_code, answer.json().get("detail"))
        if said != (status_of(first), str(first)) or not is_sentence(first):
            yield f"{said}, expected {first!r}"
    elif answer.status_code != 200:
        yield f"{answer.status_code} {answer.text}"
    elif alone:
        (outcome,) = expected
        assert isinstance(outcome, Observation)
        percent = list(answer.json()["predictions"].values())
        if percent != [round(100 * p, 2) for p in outcome.probabilities]:
            yield f"{percent}, expected {outcome.probabilities}"
    else:
        for result, outcome in zip(answer.json()["results"], expected, strict=True):
            if isinstance(outcome, ImageError):
                if result.get("error") != str(outcome) or not is_sentence(outcome):
                    yield f"{result}, expected {outcome!r}"
            elif "error" in result or list(result["probabilities"].values()) != list(outcome.probabilities):
                yield f"{result}, expected {outcome.probabilities}"


def status_of(refused: ImageError) -> int:
    return 413 if isinstance(refused, ImageTooLarge) else 422


def is_sentence(refused: ImageError) -> bool:
    return str(refused).endswith(".") and len(str(refused).split()) > 4


def processes(service: Service) -> list[psutil.Process]:
    """The service's: BentoML's arbiter and its workers."""
    known = psutil.Process(service.process)
    return sorted([known, *known.children(recursive=True)], key=lambda process: process.pid)


def memory(workers: list[psutil.Process]) -> int:
    return sum(worker.memory_info().rss for worker in workers)
