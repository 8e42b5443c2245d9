"""The ``train`` stage: from prepared pictures to a fit that ``kill -9`` does not lose."""

import logging
import resource
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from bloodyspy.dataset import manifest as manifests
from bloodyspy.dataset.preparation import ARRAY_FILE, load_prepared
from bloodyspy.dataset.version import data_version, read_dataset
from bloodyspy.errors import DataMissing, TrainingFailed
from bloodyspy.images.preprocess import InputSpec
from bloodyspy.model import augmentation, network, parts, weights
from bloodyspy.model.artifact import NETWORK, sha256
from bloodyspy.model.augmentation import augment
from bloodyspy.model.backend import keras
from bloodyspy.model.checkpoint import Checkpoint, Epoch, State, key_of, read_history, write_history
from bloodyspy.model.parts import Pictures, class_weights, load_parts
from bloodyspy.model.progress import TrainingProgress
from bloodyspy.model.provenance import git_commit
from bloodyspy.params import Candidate, Params
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

HISTORY, FIT = "history.csv", "fit.json"
_VALIDATION_BATCH = 64
_WARM_UP = 0.1  # share of the steps in which the learning rate rises to the candidate's


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


class Fit(BaseModel):
    """``fit.json``: the facts of a finished fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    candidate: str
    network: str
    input_size: int
    parameters: int
    """Weights that were trained."""
    epochs: int
    best_epoch: int
    """The one whose weights were kept: lowest loss on the validation part."""
    seconds: float
    """Wall time of all epochs, interruptions not counted."""
    git_commit: str
    data_version: str
    manifest_digest: str
    synthetic: bool


def read_fit(folder: Path) -> Fit:
    """The facts of the fit in ``build/fits/<candidate>/``.

    Raises:
        DataMissing: there is no fit.
        TrainingFailed: its facts were altered.
    """
    try:
        return Fit.model_validate_json((folder / FIT).read_bytes())
    except FileNotFoundError as exc:
        raise DataMissing(folder / FIT, f"bloodyspy train {folder.name}") from exc
    except ValidationError as exc:
        raise TrainingFailed(
            f"{folder / FIT} was altered ({exc.error_count()} faults). Run `dvc repro` again."
        ) from exc


def fit(name: str, s: Settings, p: Params, recorder: Recorder) -> Fit:
    """Train one candidate and leave ``build/fits/<name>/``: network.keras, history.csv, fit.json.

    The state is kept after each epoch: after a kill the same call goes on from there, in the same run, with the
    pictures in the order and the positions that the uninterrupted fit sees. A fit that was finished before, with the
    same candidate, data and code, is put in place again and not repeated.

    Raises:
        DataMissing: no data version, manifest or prepared array.
        ParamsError, WeightsUnavailable: from building the network.
        TrainingFailed: a part or a class is empty, the loss is no number, or another process trains the same.
    """
    candidate = p.candidate(name)
    spec = InputSpec(size=p.inputs[candidate.input].size)
    digest = manifests.digest(s.manifest)
    siblings = s.state / "checkpoints"
    checkpoint = Checkpoint(siblings / f"{name}-{_key(candidate, spec, digest, s)}")
    with checkpoint.held():
        recorded = recorder.begin(checkpoint.identity())
        if not checkpoint.finished.is_dir():
            _train(name, candidate, spec, checkpoint, recorder, recorded, s)
        else:
            logger.info("%s: already fitted, nothing to train", name)
            _replay(read_history(checkpoint.finished / HISTORY), recorder, recorded)
        done = read_fit(checkpoint.finished)
        if done.run_id != recorder.run_id:  # the tracking store has lost the run and was given a new one
            done = done.model_copy(update={"run_id": recorder.run_id})
            (checkpoint.finished / FIT).write_text(done.model_dump_json(indent=2) + "\n", encoding="utf-8")
        checkpoint.place(s.fit(name))
        checkpoint.drop_older(list(siblings.glob(f"{name}-{'?' * 16}")))
    return done


def _key(candidate: Candidate, spec: InputSpec, manifest_digest: str, s: Settings) -> str:
    """Of everything that determines a fit: what is asked for, of which pictures, by which code."""
    modules = (network, weights, augmentation, parts)
    sources = [Path(__file__), *(Path(str(module.__file__)) for module in modules)]
    file = weights.locate(candidate.weights, s.weights)
    prepared = s.prepared(candidate.input)
    load_prepared(prepared)  # tells what to run where it is missing
    return key_of(
        candidate.model_dump_json(),
        spec.model_dump_json(),
        manifest_digest,
        sha256(prepared / ARRAY_FILE),  # the same pictures may have been decoded or resized by other code
        keras.__version__,
        *(sha256(source) for source in sources),
        sha256(file) if file else "",
    )


@dataclass(frozen=True, slots=True)
class _Origin:
    """Of what code and data a fit is made."""

    git_commit: str
    data_version: str
    manifest_digest: str
    synthetic: bool


def _train(
    name: str,
    candidate: Candidate,
    spec: InputSpec,
    checkpoint: Checkpoint,
    recorder: Recorder,
    recorded: int,
    s: Settings,
) -> None:
    training, validation = load_parts(s, candidate.input)
    # Told before training: whoever imports images meanwhile changes what data.dvc says.
    origin = _Origin(
        git_commit=git_commit(s.root),
        data_version=data_version(s.root),
        manifest_digest=manifests.digest(s.manifest),
        synthetic=read_dataset(s.data).synthetic,
    )
    keras.utils.set_random_seed(candidate.seed)
    model = network.build(candidate, spec, s.weights)
    _compile(model, candidate, steps=max(1, len(training) // candidate.batch_size))
    state = checkpoint.load()
    if state is not None:
        _assign(model.variables, state.weights)
        _assign(model.optimizer.variables, state.optimizer)
        logger.info("%s: going on after epoch %d of %d", name, len(state.history), candidate.epochs)
    history = state.history if state else ()
    best = state.best if state else []
    _replay(history, recorder, recorded)
    seen = len(training.shuffled(candidate.batch_size, np.random.default_rng(0)))
    with TrainingProgress(name, candidate.epochs, seen, len(history)) as progress:
        for number in range(len(history) + 1, candidate.epochs + 1):
            row = _epoch(model, number, candidate, training, validation, progress)
            variables = _values(model.variables)
            if row.val_loss < min((earlier.val_loss for earlier in history), default=np.inf):
                best = variables
            history = (*history, row)
            # First the checkpoint, then the run: after a kill between the two the run is one epoch behind, never ahead.
            checkpoint.save(State(variables, _values(model.optimizer.variables), best, history))
            _replay((row,), recorder, number - 1)
            progress.tell(row)
    _assign(model.variables, best)
    result = checkpoint.folder / "finishing"
    shutil.rmtree(result, ignore_errors=True)
    result.mkdir()
    model.save(result / NETWORK)
    write_history(result / HISTORY, history)
    facts = Fit(
        run_id=recorder.run_id,
        candidate=name,
        network=candidate.network,
        input_size=spec.size,
        parameters=int(sum(np.prod(variable.shape) for variable in model.trainable_variables)),
        epochs=len(history),
        best_epoch=min(history, key=lambda row: row.val_loss).epoch,
        seconds=round(sum(row.seconds for row in history), 2),
        git_commit=origin.git_commit,
        data_version=origin.data_version,
        manifest_digest=origin.manifest_digest,
        synthetic=origin.synthetic,
    )
    (result / FIT).write_text(facts.model_dump_json(indent=2) + "\n", encoding="utf-8")
    checkpoint.finish(result)


def _compile(model: keras.Model, candidate: Candidate, steps: int) -> None:
    """AdamW; the learning rate rises for a tenth of the fit and falls as a cosine to nothing."""
    total = steps * candidate.epochs
    warm_up = max(1, round(total * _WARM_UP))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, total - warm_up), warmup_target=candidate.learning_rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=candidate.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # XLA is slower on these networks, where it ever finishes compiling.
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    optimizer.build(model.trainable_variables)


def _epoch(
    model: keras.Model,
    number: int,
    candidate: Candidate,
    training: Pictures,
    validation: Pictures,
    progress: TrainingProgress,
) -> Epoch:
    started = time.perf_counter()
    # Seeded by the epoch, not by what came before: a resumed fit sees what the uninterrupted one does.
    rng = np.random.default_rng((candidate.seed, number))
    order = training.shuffled(candidate.batch_size, rng)
    weight_of = class_weights(training.labels)
    loss = accuracy = 0.0
    for pictures, labels in training.batches(candidate.batch_size, order):
        answer = model.train_on_batch(augment(pictures, rng), labels, sample_weight=weight_of[labels])
        share = len(labels) / len(order)
        loss, accuracy = loss + share * answer[0], accuracy + share * answer[1]
        progress.advance(len(labels))
    trained = time.perf_counter()
    everything = np.arange(len(validation))
    probabilities = np.concatenate(
        [model.predict_on_batch(pictures) for pictures, _ in validation.batches(_VALIDATION_BATCH, everything)]
    )
    own = probabilities[everything, validation.labels]
    val_loss = float(-np.log(np.maximum(own, 1e-7)).mean())
    if not np.isfinite(loss + val_loss):
        raise TrainingFailed(
            f"The loss is no number any more in epoch {number}. Lower `learning_rate` of this candidate in params.yaml."
        )
    right = probabilities.argmax(axis=1) == validation.labels
    return Epoch(
        epoch=number,
        loss=float(loss),
        accuracy=float(accuracy),
        val_loss=val_loss,
        val_accuracy=float(right.mean()),
        val_balanced_accuracy=float(np.mean([right[validation.labels == c].mean() for c in set(validation.labels)])),
        learning_rate=float(model.optimizer.learning_rate),
        images_per_second=round(len(order) / (trained - started), 2),
        seconds=round(time.perf_counter() - started, 3),
        memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )


def _values(variables: list[keras.Variable]) -> list[NDArray[np.generic]]:
    return [np.asarray(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables: list[keras.Variable], values: list[NDArray[np.generic]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _replay(history: tuple[Epoch, ...], recorder: Recorder, recorded: int) -> None:
    """Tell the recorder of the epochs that it does not have yet."""
    for row in history:
        if row.epoch > recorded:
            recorder.epoch(row.epoch, row.model_dump(exclude={"epoch"}))
