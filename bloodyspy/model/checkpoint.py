"""What survives ``kill -9`` of a fit: its state after each epoch, and its result until the same fit is asked for again.

A folder belongs to one fit, told apart by a key that digests everything that determines the fit. It holds::

    identity        drawn once; the tracking store finds the fit's run by it
    state.npz       after the newest epoch: weights, optimiser, weights to be kept, epochs so far
    finished/       the result, kept so that nothing is trained twice
    seed-<n>/       the folder of one seed, in the same manner
    lock            held by the process that trains

Every file appears whole or not at all: written beside its place, flushed to the disk, then renamed.
"""

import contextlib
import csv
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, TypeAdapter

from bloodyspy.errors import TrainingFailed

HISTORY = "history.csv"


class Epoch(BaseModel):
    """One row of the learning curve; a column of history.csv each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    """From 1."""
    loss: float
    """Mean cross-entropy over the augmented training pictures, weighted by target, while the weights were moving."""
    accuracy: float
    """Over the same, of the targets: sub-types count as wrong where they are taught and taken for each other."""
    val_loss: float
    """Mean cross-entropy over the validation part, not weighted."""
    val_accuracy: float
    val_balanced_accuracy: float
    learning_rate: float
    """At the epoch's end."""
    images_per_second: float
    """Training pictures, validation not counted."""
    seconds: float
    """Of the epoch with its validation."""
    step_seconds: float
    """Of them, in forward and backward passes and the optimiser."""
    memory_mb: float
    """Resident memory of the process at its peak so far."""


def kept_of(history: tuple[Epoch, ...], epochs: int) -> Epoch:
    """The epoch whose weights are kept: the last one of a whole schedule, else the one of the lowest validation loss.

    A schedule that came to its end has taken the learning rate down to nothing, and its last weights are what it was
    for. Of a training that ended early the best so far is what there is.
    """
    return history[-1] if len(history) == epochs else best_of(history)


def best_of(history: tuple[Epoch, ...]) -> Epoch:
    """The epoch of the lowest validation loss."""
    return min(history, key=lambda row: row.val_loss)


_HISTORY = TypeAdapter(tuple[Epoch, ...])


@dataclass(frozen=True, slots=True)
class State:
    """A fit between two epochs."""

    weights: list[NDArray[np.generic]]
    """Every variable of the network, random states of its layers included."""
    optimizer: list[NDArray[np.generic]]
    kept: list[NDArray[np.generic]]
    """Weights that the epoch to be kept was measured with: the averaged ones where they are averaged."""
    history: tuple[Epoch, ...]


def key_of(*facts: str) -> str:
    """Sixteen hex digits that stand for all the facts, in their order."""
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]


class Checkpoint:
    """The folder of one fit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.finished = folder / "finished"
        self._state = folder / "state.npz"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out; the system gives the lock back when a process dies.

        Raises:
            TrainingFailed: another process trains the same.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / "lock", timeout=0):
                yield
        except Timeout as exc:
            raise TrainingFailed(
                f"Another process is training the same ({self.folder}). Wait for it, or end it."
            ) from exc

    def identity(self) -> str:
        """What the fit is known by in the tracking store: drawn at random the first time, the same ever after."""
        place = self.folder / "identity"
        if not place.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(place, uuid.uuid4().hex.encode())
        return place.read_text(encoding="ascii")

    def save(self, state: State) -> None:
        """Put a state in the place of the one before."""
        arrays = {
            f"{group}_{i:05d}": array
            for group, held in (("weights", state.weights), ("optimizer", state.optimizer), ("kept", state.kept))
            for i, array in enumerate(held)
        }
        history = np.frombuffer(_HISTORY.dump_json(state.history), np.uint8)
        writing = self._state.with_suffix(".writing")
        try:
            with writing.open("wb") as stream:
                np.savez(stream, history=history, **arrays)  # type: ignore[arg-type]
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            writing.unlink(missing_ok=True)  # a full disk needs the room
            raise
        writing.replace(self._state)

    def load(self) -> State | None:
        """The newest state; None before the first epoch's end."""
        if not self._state.exists():
            return None
        with np.load(self._state, allow_pickle=False) as arrays:

            def group(name: str) -> list[NDArray[np.generic]]:
                return [arrays[key] for key in sorted(arrays.files) if key.startswith(f"{name}_")]

            history = _HISTORY.validate_json(arrays["history"].tobytes())
            return State(group("weights"), group("optimizer"), group("kept"), history)

    def finish(self, result: Path) -> None:
        """Take the folder ``result`` as the result; what led to it is not needed any more."""
        result.replace(self.finished)
        self._state.unlink(missing_ok=True)

    def place(self, destination: Path) -> None:
        """Copy the result to where it is wanted, whole or not at all."""
        destination.parent.mkdir(parents=True, exist_ok=True)
        copying = destination.with_name(f".{destination.name}.copying")
        shutil.rmtree(copying, ignore_errors=True)
        shutil.copytree(self.finished, copying)
        shutil.rmtree(destination, ignore_errors=True)
        copying.replace(destination)

    def drop_older(self, siblings: Sequence[Path]) -> None:
        """Remove finished folders among ``siblings``: their results are where they were wanted, and in DVC's cache."""
        for folder in siblings:
            if folder != self.folder and (folder / "finished").is_dir():
                shutil.rmtree(folder, ignore_errors=True)


def write_history(path: Path, history: tuple[Epoch, ...]) -> None:
    """The learning curve as CSV."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(Epoch.model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row.model_dump() for row in history)


def read_history(path: Path) -> tuple[Epoch, ...]:
    """What :func:`write_history` wrote."""
    with path.open(encoding="utf-8", newline="") as stream:
        return tuple(Epoch.model_validate(row) for row in csv.DictReader(stream))


def _write(place: Path, content: bytes) -> None:
    writing = place.with_name(f".{place.name}.writing")
    with writing.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    writing.replace(place)
