"""``bloodyspy predict``: many files through one model, in their order, on every core, within bounded memory."""

import csv
import os
import time
import uuid
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import ArtefactInvalid, ImageError, ModelUnavailable, SourceError, UnreadableImage
from bloodyspy.images.files import read
from bloodyspy.model.classifier import Classifier, placed
from bloodyspy.model.progress import Rate
from bloodyspy.model.release import read_release
from bloodyspy.observation import PROBABILITIES
from bloodyspy.settings import Settings

COLUMNS: tuple[str, ...] = ("path", "predicted", "confidence", *PROBABILITIES, "error", "run_id")
"""Of the table. A picture that could not be read has an error and no answer; ``run_id`` is the model that answered."""

BATCH = 32
"""Files of one piece of work: read, prepared and classified by one thread."""

_FORMULAS = ("=", "+", "-", "@", "\t")  # what a spreadsheet would calculate in the place of showing it

_AHEAD = 4  # pieces in work or waiting to be written, for each thread: what memory is bounded by


@dataclass(frozen=True, slots=True)
class Prediction:
    """What came of one file."""

    path: Path
    probabilities: tuple[float, ...] | None
    """One per cell type, in their order; None where the file is no readable picture."""
    error: str = ""
    """Why not."""

    @property
    def predicted(self) -> CellType | None:
        """The most probable cell type."""
        return None if self.probabilities is None else CELL_TYPES[self.probabilities.index(max(self.probabilities))]

    def row(self, run_id: str) -> tuple[str, ...]:
        """Values in the order of :data:`COLUMNS`; probabilities with six decimals, no path that is a formula."""
        path = str(self.path).replace("\r", "\\r")  # Python's csv would not quote it: to readers a row would end there
        if path.startswith(_FORMULAS):
            path = f"./{path}"  # the same file still
        if self.probabilities is None:
            return (path, "", "", *("" for _ in PROBABILITIES), self.error, run_id)
        values = (f"{p:.6f}" for p in (max(self.probabilities), *self.probabilities))
        return (path, str(self.predicted), *values, "", run_id)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a table holds."""

    counts: dict[CellType, int]
    """Pictures of each predicted type."""
    unreadable: int
    seconds: float

    @property
    def classified(self) -> int:
        """Rows with an answer."""
        return sum(self.counts.values())


def open_model(s: Settings, name: str | None = None) -> Classifier:
    """The released model, or the one that is named.

    Args:
        s: places.
        name: a candidate that was evaluated here, or the folder of an artefact.

    Raises:
        ModelUnavailable: nothing was released, or nothing has this name.
        ServiceError: the release cannot be read.
        ArtefactInvalid, PreprocessMismatch: it is there and cannot be used.
    """
    if name is None:
        return _released(s)
    candidate, folder = s.artefact(name), Path(name).expanduser()
    path = candidate if folder.name == name and candidate.is_dir() else folder
    if not path.is_dir():
        raise ModelUnavailable(
            f"There is no model {name}: neither a candidate in {s.artefact('')} nor a folder. "
            "Make the candidates with `dvc repro`, or name the folder of a model."
        )
    return Classifier.load(path)


def predict(classifier: Classifier, files: Sequence[Path], threads: int | None = None) -> Generator[Prediction]:
    """Classify files, in their order, while the caller takes the answers.

    Each thread reads, prepares and classifies a batch by itself: no core waits for another, and the interpreter's lock
    is free while they decode and while the graph runs.

    Args:
        classifier: loaded for one thread; it is called from several.
        files: any number; only a few batches are in memory at a time.
        threads: default one for each core of this process.
    """
    threads = threads or min(16, len(os.sched_getaffinity(0)))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
    ahead: deque[Future[list[Prediction]]] = deque()
    try:
        for start in range(0, len(files), BATCH):
            ahead.append(pool.submit(_classify, classifier, files[start : start + BATCH]))
            if len(ahead) >= _AHEAD * threads:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt, too, nothing goes on in the background


def write(classifier: Classifier, files: Sequence[Path], table: Path) -> Summary:
    """Classify files into a CSV of :data:`COLUMNS`, with a progress bar on a terminal.

    The table appears when it is complete; whatever ends this before, an older one stays as it was.

    Raises:
        SourceError: the table cannot be written.
    """
    started = time.monotonic()
    counts: Counter[CellType | None] = Counter()
    place = table.expanduser().resolve()
    if place.exists() and not place.is_file():
        raise SourceError(f"{table} is not a file that could be replaced. Name another with --csv.")
    unfinished = place.with_name(f".{place.name}-{uuid.uuid4().hex[:12]}")
    try:
        # names that are no valid text, from other systems, are written as escapes: the table is always UTF-8
        with unfinished.open("x", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(COLUMNS)
            with _bar() as bar, closing(predict(classifier, files)) as predictions:
                for prediction in bar.track(predictions, len(files), description="Classifying"):
                    counts[prediction.predicted] += 1
                    rows.writerow(prediction.row(classifier.spec.run_id))
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(place)
    except OSError as exc:
        raise SourceError(f"{table} cannot be written: {exc}.") from exc
    finally:
        unfinished.unlink(missing_ok=True)
    unreadable = counts.pop(None, 0)
    seen = {cell: counts[cell] for cell in CELL_TYPES if cell in counts}
    return Summary(seen, unreadable, time.monotonic() - started)


def _bar() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=4,
        disable=not console.is_terminal,
    )


def _released(s: Settings) -> Classifier:
    try:
        release = read_release(s.release)
    except ModelUnavailable as exc:
        raise ModelUnavailable(f"{exc} Or name a candidate, or the folder of a model, with --model.") from None
    assert s.bentoml_home is not None  # Settings fills it in
    path = s.bentoml_home / release.path
    classifier = Classifier.load(path)
    if classifier.artefact.digest != release.digest:
        raise ArtefactInvalid(path, f"it is not the artefact that was released as {release.model}")
    return classifier


def _classify(classifier: Classifier, files: Sequence[Path]) -> list[Prediction]:
    inputs, refused = classifier.inputs(files, lambda path: classifier.prepare(_payload(path)))
    answers = placed(classifier.probabilities(inputs).tolist(), refused)
    return [_prediction(path, answer) for path, answer in zip(files, answers, strict=True)]


def _payload(path: Path) -> bytes:
    try:
        return read(path)
    except OSError as exc:
        raise UnreadableImage(f"it cannot be read: {exc.strerror}") from exc


def _prediction(path: Path, answer: list[float] | ImageError) -> Prediction:
    if isinstance(answer, UnreadableImage):
        return Prediction(path, None, answer.reason)
    if isinstance(answer, ImageError):
        return Prediction(path, None, str(answer))
    return Prediction(path, tuple(answer))
