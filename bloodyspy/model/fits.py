"""The ``train`` stage: from prepared pictures to the fit of a candidate, by one seed or by several."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.dataset import manifest as manifests
from bloodyspy.dataset.preparation import ARRAY_FILE, load_prepared
from bloodyspy.dataset.version import data_version, read_dataset
from bloodyspy.errors import DataMissing, TrainingFailed
from bloodyspy.images import preprocess
from bloodyspy.images.preprocess import InputSpec
from bloodyspy.model import (
    augmentation,
    efficientnet_lite,
    network,
    normalization,
    parts,
    recipe,
    targets,
    training,
    weights,
)
from bloodyspy.model import checkpoint as checkpoint_files
from bloodyspy.model.artifact import NETWORK, sha256
from bloodyspy.model.backend import keras
from bloodyspy.model.checkpoint import HISTORY, Checkpoint, Epoch, kept_of, key_of, read_history
from bloodyspy.model.provenance import git_commit
from bloodyspy.model.training import Recorder, Watch, tell, train
from bloodyspy.params import Candidate, Params
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

FIT = "fit.json"


class SeedFit(BaseModel):
    """What one seed came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    run_id: str
    epochs: int
    kept_epoch: int
    """The one whose weights were kept, see :func:`bloodyspy.model.checkpoint.kept_of`."""
    val_loss: float
    """Of that epoch, as the following two."""
    val_accuracy: float
    val_balanced_accuracy: float
    seconds: float
    """Wall time of all epochs, interruptions not counted."""


class Fit(BaseModel):
    """``fit.json``: the facts of a finished fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    candidate: str
    network: str
    input: InputSpec
    parameters: int
    """Weights that were trained."""
    seeds: tuple[SeedFit, ...] = Field(min_length=1)
    seed: int
    """The one that was kept: lowest loss on the validation part."""
    git_commit: str
    data_version: str
    manifest_digest: str
    synthetic: bool

    @property
    def kept(self) -> SeedFit:
        """The seed that was kept."""
        return next(one for one in self.seeds if one.seed == self.seed)


def network_of(folder: Path, seed: int) -> Path:
    """The network that a seed came to, inside a fit; that of the kept seed is ``network.keras`` as well."""
    return folder / "seeds" / f"{seed}.keras"


def history_of(folder: Path, seed: int) -> Path:
    """The learning curve of a seed, inside a fit; that of the kept seed is ``history.csv`` as well."""
    return folder / "seeds" / f"{seed}.csv"


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


def fit(name: str, s: Settings, p: Params, recorder: Recorder, watch: Watch = lambda _: None) -> Fit:
    """Train one candidate and leave ``build/fits/<name>/``: network.keras, history.csv, fit.json, seeds/.

    With several seeds each is a run below the candidate's, and the one with the lowest loss on the validation part is
    kept. The state is kept after each epoch: after a kill the same call goes on from there. A fit that was finished
    before, with the same candidate, data and code, is put in place again and not repeated. ``watch`` is told of each
    epoch, see :func:`bloodyspy.model.training.train`.

    Raises:
        DataMissing: no data version, manifest or prepared array.
        ParamsError, WeightsUnavailable: from building the network.
        TrainingFailed: a part or a class is empty, the loss is no number, or another process trains the same.
    """
    candidate = p.candidate(name)
    spec = p.inputs[candidate.input]
    siblings = s.state / "checkpoints"
    checkpoint = Checkpoint(siblings / f"{name}-{_key(candidate, spec, s)}")
    with checkpoint.held():
        if not checkpoint.finished.is_dir():
            _fit(name, candidate, spec, checkpoint, recorder, s, watch)
            done = read_fit(checkpoint.finished)
        else:
            logger.info("%s: already fitted, nothing to train", name)
            done = _told_again(name, candidate, checkpoint, recorder)
        checkpoint.place(s.fit(name))
        for seed in _seeds(candidate):
            shutil.rmtree(_of_seed(checkpoint, seed).finished, ignore_errors=True)  # it is in the fit
        checkpoint.drop_older(list(siblings.glob(f"{name}-{'?' * 16}")))
    return done


def code_digest() -> str:
    """Of every module that decides what a training comes to or how it is kept, and of the framework's version."""
    modules: tuple[ModuleType, ...] = (
        *(augmentation, checkpoint_files, efficientnet_lite, network, normalization),
        *(parts, preprocess, recipe, targets, training, weights),
    )
    files = (Path(__file__), *(Path(str(module.__file__)) for module in modules))
    return key_of(keras.__version__, *(sha256(file) for file in files))


def _key(candidate: Candidate, spec: InputSpec, s: Settings) -> str:
    """Of everything that determines a fit: what is asked for, of which pictures, by which code."""
    file = weights.locate(candidate.weights, s.weights)
    prepared = s.prepared(candidate.input)
    load_prepared(prepared)  # tells what to run where it is missing
    return key_of(
        candidate.model_dump_json(),
        spec.model_dump_json(),
        manifests.digest(s.manifest),
        sha256(prepared / ARRAY_FILE),  # the same pictures may have been decoded or resized by other code
        code_digest(),
        sha256(file) if file else "",
    )


@dataclass(frozen=True, slots=True)
class _Trained:
    facts: SeedFit
    folder: Path
    history: tuple[Epoch, ...]


def _fit(
    name: str,
    candidate: Candidate,
    spec: InputSpec,
    checkpoint: Checkpoint,
    recorder: Recorder,
    s: Settings,
    watch: Watch,
) -> None:
    # Told before training: whoever imports images meanwhile changes what data.dvc says.
    commit, version = git_commit(s.root), data_version(s.root)
    digest, synthetic = manifests.digest(s.manifest), read_dataset(s.data).synthetic
    recorded = recorder.begin(_run_of(checkpoint, candidate).identity())
    trained = []
    for seed in _seeds(candidate):
        with _run_below(recorder, name, candidate, seed) as own:
            words = f"{name} seed {seed}" if candidate.seeds > 1 else name
            place = _of_seed(checkpoint, seed)
            history = train(words, candidate.model_copy(update={"seed": seed}), spec, place, own, s, watch)
            kept = kept_of(history, candidate.epochs)
            trained.append(_Trained(_facts_of(seed, own.run_id, kept, history), place.finished, history))
    best = min(trained, key=lambda one: one.facts.val_loss)
    if candidate.seeds > 1:
        recorder.numbers(_spread([one.facts for one in trained]))
        tell(best.history, recorder, recorded)  # the candidate's own curve is that of the seed that was kept
    result = checkpoint.folder / "finishing"
    shutil.rmtree(result, ignore_errors=True)
    shutil.copytree(best.folder, result)
    if candidate.seeds > 1:
        (result / "seeds").mkdir()
        for one in trained:
            shutil.copyfile(one.folder / NETWORK, network_of(result, one.facts.seed))
            shutil.copyfile(one.folder / HISTORY, history_of(result, one.facts.seed))
    facts = Fit(
        run_id=recorder.run_id,
        candidate=name,
        network=candidate.network,
        input=spec,
        parameters=_parameters(result / NETWORK),
        seeds=tuple(one.facts for one in trained),
        seed=best.facts.seed,
        git_commit=commit,
        data_version=version,
        manifest_digest=digest,
        synthetic=synthetic,
    )
    (result / FIT).write_text(facts.model_dump_json(indent=2) + "\n", encoding="utf-8")
    checkpoint.finish(result)


def _told_again(name: str, candidate: Candidate, checkpoint: Checkpoint, recorder: Recorder) -> Fit:
    """The facts of a finished fit; where the tracking store has lost its runs, new ones are told all of it."""
    done = read_fit(checkpoint.finished)
    recorded = recorder.begin(_run_of(checkpoint, candidate).identity())
    if recorder.run_id != done.run_id:
        seeds = []
        for one in done.seeds:
            with _run_below(recorder, name, candidate, one.seed) as own:
                if candidate.seeds > 1:
                    curve = read_history(history_of(checkpoint.finished, one.seed))
                    tell(curve, own, own.begin(_of_seed(checkpoint, one.seed).identity()))
                seeds.append(one.model_copy(update={"run_id": own.run_id}))
        if candidate.seeds > 1:
            recorder.numbers(_spread(seeds))
        done = done.model_copy(update={"run_id": recorder.run_id, "seeds": tuple(seeds)})
        (checkpoint.finished / FIT).write_text(done.model_dump_json(indent=2) + "\n", encoding="utf-8")
    tell(read_history(checkpoint.finished / HISTORY), recorder, recorded)
    return done


def _seeds(candidate: Candidate) -> range:
    return range(candidate.seed, candidate.seed + candidate.seeds)


def _of_seed(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    return Checkpoint(checkpoint.folder / f"seed-{seed}")


def _run_of(checkpoint: Checkpoint, candidate: Candidate) -> Checkpoint:
    """Whose identity the candidate's run has: a single seed needs no run below it."""
    return checkpoint if candidate.seeds > 1 else _of_seed(checkpoint, candidate.seed)


@contextmanager
def _run_below(recorder: Recorder, name: str, candidate: Candidate, seed: int) -> Iterator[Recorder]:
    if candidate.seeds == 1:
        yield recorder
        return
    with recorder.child(f"{name} seed {seed}", {"seed": str(seed), "seeds": "1"}) as own:
        yield own


def _facts_of(seed: int, run_id: str, kept: Epoch, history: tuple[Epoch, ...]) -> SeedFit:
    return SeedFit(
        seed=seed,
        run_id=run_id,
        epochs=len(history),
        kept_epoch=kept.epoch,
        val_loss=kept.val_loss,
        val_accuracy=kept.val_accuracy,
        val_balanced_accuracy=kept.val_balanced_accuracy,
        seconds=round(sum(row.seconds for row in history), 2),
    )


def _spread(seeds: list[SeedFit]) -> dict[str, float]:
    """Mean and standard deviation over the seeds."""
    numbers: dict[str, float] = {"seeds": len(seeds)}
    for name in ("val_loss", "val_accuracy", "val_balanced_accuracy", "seconds"):
        values = [float(getattr(one, name)) for one in seeds]
        numbers |= {f"seeds_mean_{name}": float(np.mean(values)), f"seeds_sd_{name}": float(np.std(values, ddof=1))}
    return numbers


def _parameters(network_file: Path) -> int:
    model = keras.models.load_model(network_file, compile=False)
    return int(sum(np.prod(variable.shape) for variable in model.trainable_variables))
