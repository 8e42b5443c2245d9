"""Training one network, so that ``kill -9`` loses an epoch at most."""

import logging
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bloodyspy.errors import TrainingFailed
from bloodyspy.images.preprocess import InputSpec, centre
from bloodyspy.model import network
from bloodyspy.model.artifact import NETWORK
from bloodyspy.model.augmentation import augment
from bloodyspy.model.backend import keras
from bloodyspy.model.checkpoint import (
    HISTORY,
    Checkpoint,
    Epoch,
    State,
    best_of,
    kept_of,
    read_history,
    write_history,
)
from bloodyspy.model.normalization import fused
from bloodyspy.model.parts import Pictures, load_parts, weights_of
from bloodyspy.model.progress import TrainingProgress
from bloodyspy.model.recipe import averaged, compile_for
from bloodyspy.model.targets import targets_of
from bloodyspy.params import Candidate
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

_VALIDATION_BATCH = 64

Watch = Callable[[Epoch], None]


class Recorder(Protocol):
    """Who keeps the learning curve while it grows."""

    @property
    def run_id(self) -> str:
        """The run; known once begun."""
        ...

    def begin(self, identity: str) -> int:
        """Start the run of a fit, or go on with it; tells how many epochs it has."""
        ...

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """One more epoch, counted from 1."""
        ...

    def numbers(self, metrics: Mapping[str, float]) -> None:
        """What belongs to no epoch."""
        ...

    def child(self, name: str, facts: Mapping[str, str]) -> AbstractContextManager["Recorder"]:
        """A recorder of a run below this one, whose parameters differ from this one's in ``facts``."""
        ...


def train(
    name: str,
    candidate: Candidate,
    spec: InputSpec,
    checkpoint: Checkpoint,
    recorder: Recorder,
    s: Settings,
    watch: Watch = lambda _: None,
) -> tuple[Epoch, ...]:
    """Train one network with one seed and leave ``checkpoint.finished``: network.keras and history.csv.

    The state is kept after each epoch: after a kill the same call goes on from there, in the same run, with the
    pictures in the order and the positions that the uninterrupted training sees. What was finished before is not
    repeated. Training ends after ``epochs``, or when the loss on the validation part has not fallen for ``patience``
    epochs; see :func:`bloodyspy.model.checkpoint.kept_of` for the weights that are kept.

    Args:
        name: what people call it.
        candidate: what is trained; its ``seeds`` are not looked at.
        spec: geometry of its input.
        checkpoint: a folder of this training alone, held by the caller.
        recorder: of its run.
        s: says where the prepared pictures are.
        watch: told of each epoch after it is safe on disk and in the run; what it raises ends the training.

    Returns:
        Every epoch, those before an interruption included.

    Raises:
        DataMissing, ParamsError, WeightsUnavailable: there is nothing to train or to train on.
        TrainingFailed: a part or a class is empty, or the loss is no number.
    """
    recorded = recorder.begin(checkpoint.identity())
    if checkpoint.finished.is_dir():
        logger.info("%s: already trained", name)
        history = read_history(checkpoint.finished / HISTORY)
        tell(history, recorder, recorded)
        return history
    training, validation = load_parts(s, candidate.input, candidate.training_share)
    keras.utils.set_random_seed(candidate.seed)
    plain = network.build(candidate, spec, s.weights)
    model = fused(plain)
    learner = network.taught(model)
    compile_for(learner, candidate, steps=max(1, len(training) // candidate.batch_size))
    state = checkpoint.load()
    if state is not None:
        _assign(model.variables, state.weights)
        _assign(learner.optimizer.variables, state.optimizer)
        logger.info("%s: going on after epoch %d of %d", name, len(state.history), candidate.epochs)
    history = state.history if state else ()
    kept = state.kept if state else []
    tell(history, recorder, recorded)
    targets = targets_of(candidate.targets, training.labels, training.subtypes)
    loop = _Loop(model, learner, candidate, spec, training, validation, targets, weights_of(targets))
    with TrainingProgress(name, candidate.epochs, loop.pictures, len(history)) as progress:
        while len(history) < candidate.epochs and not _out_of_patience(history, candidate.patience):
            row, averages = loop.epoch(len(history) + 1, progress)
            history = (*history, row)
            if kept_of(history, candidate.epochs) is row:
                kept = averages
            # First the checkpoint, then the run: after a kill between the two the run is one epoch behind, never ahead.
            checkpoint.save(State(_values(model.variables), _values(learner.optimizer.variables), kept, history))
            tell((row,), recorder, row.epoch - 1)
            progress.tell(row)
            watch(row)
    _assign(plain.weights, kept)
    result = checkpoint.folder / "finishing"
    shutil.rmtree(result, ignore_errors=True)
    result.mkdir()
    plain.save(result / NETWORK)
    write_history(result / HISTORY, history)
    checkpoint.finish(result)
    return history


def tell(history: tuple[Epoch, ...], recorder: Recorder, recorded: int) -> None:
    """Tell the recorder of the epochs that it does not have yet."""
    for row in history:
        if row.epoch > recorded:
            recorder.epoch(row.epoch, row.model_dump(exclude={"epoch"}))


def _out_of_patience(history: tuple[Epoch, ...], patience: int) -> bool:
    return bool(history) and len(history) - best_of(history).epoch >= patience


@dataclass(frozen=True, slots=True)
class _Loop:
    model: keras.Model
    learner: keras.Model
    """The same layers, up to what is compared with the targets."""
    candidate: Candidate
    spec: InputSpec
    training: Pictures
    validation: Pictures
    targets: NDArray[np.float32]
    """What is taught with each training picture, (n, targets)."""
    weights: NDArray[np.float32]
    """Of each training picture in the loss, (n,)."""

    @property
    def pictures(self) -> int:
        """That an epoch trains on: whole batches."""
        return len(self.training.shuffled(self.candidate.batch_size, np.random.default_rng(0)))

    def epoch(self, number: int, progress: TrainingProgress) -> tuple[Epoch, list[NDArray[np.generic]]]:
        """Train for one epoch and look at the validation part; gives the weights it was looked at with, too."""
        started = time.perf_counter()
        # Seeded by the epoch, not by what came before: a resumed fit sees what the uninterrupted one does.
        rng = np.random.default_rng((self.candidate.seed, number))
        order = self.training.shuffled(self.candidate.batch_size, rng)
        loss = accuracy = stepping = 0.0
        for pictures, chosen in self._augmented(order, rng):
            before = time.perf_counter()
            answer = self.learner.train_on_batch(pictures, self.targets[chosen], sample_weight=self.weights[chosen])
            stepping += time.perf_counter() - before
            share = len(chosen) / len(order)
            loss, accuracy = loss + share * answer[0], accuracy + share * answer[1]
            progress.advance(len(chosen))
        trained = time.perf_counter()
        with averaged(self.learner):
            probabilities = self._of_validation()
            averages = _values(self.model.weights)
        labels = self.validation.labels
        val_loss = float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)).mean())
        if not np.isfinite(loss + val_loss):
            raise TrainingFailed(
                f"The loss is no number any more in epoch {number}. "
                "Lower `learning_rate` of this candidate in params.yaml."
            )
        right = probabilities.argmax(axis=1) == labels
        row = Epoch(
            epoch=number,
            loss=float(loss),
            accuracy=float(accuracy),
            val_loss=val_loss,
            val_accuracy=float(right.mean()),
            val_balanced_accuracy=float(np.mean([right[labels == c].mean() for c in set(labels)])),
            learning_rate=float(self.learner.optimizer.learning_rate),
            images_per_second=round(len(order) / (trained - started), 2),
            seconds=round(time.perf_counter() - started, 3),
            step_seconds=round(stepping, 3),
            memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        )
        return row, averages

    def _augmented(
        self, order: NDArray[np.int64], rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Batches, and which pictures they are; the next one is made while the network works on this one."""
        batches = self.training.batches(self.candidate.batch_size, order)

        def make() -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
            for fields, chosen in batches:
                return augment(fields, self.spec.size, self.candidate.augmentation, rng), chosen
            return None

        with ThreadPoolExecutor(1, thread_name_prefix="augmentation") as beside:
            made = beside.submit(make)
            while (batch := made.result()) is not None:
                made = beside.submit(make)
                yield batch

    def _of_validation(self) -> NDArray[np.float32]:
        everything = np.arange(len(self.validation))
        chunks = self.validation.batches(_VALIDATION_BATCH, everything)
        return np.concatenate([self.model.predict_on_batch(centre(fields, self.spec)) for fields, _ in chunks])


def _values(variables: list[keras.Variable]) -> list[NDArray[np.generic]]:
    return [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables: list[keras.Variable], values: list[NDArray[np.generic]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
