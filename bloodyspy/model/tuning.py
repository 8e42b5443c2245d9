"""The search for a better candidate, by workers that come and go.

A worker claims one trial at a time. Whoever starts the same command again, or a second time beside the first, works on
the same study. A trial whose worker ended before it did goes on after its last epoch, in the same run.
"""

import contextlib
import logging
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from filelock import BaseFileLock, FileLock
from optuna.trial import FrozenTrial, TrialState

from bloodyspy.dataset import manifest as manifests
from bloodyspy.dataset.preparation import ARRAY_FILE, load_prepared
from bloodyspy.errors import BloodySpyError, Pruned, TrainingFailed, full_disk
from bloodyspy.model import study as studies
from bloodyspy.model import weights
from bloodyspy.model.artifact import sha256
from bloodyspy.model.checkpoint import Checkpoint, Epoch, kept_of, key_of
from bloodyspy.params import Candidate, InputSpec, Params
from bloodyspy.settings import Settings

if TYPE_CHECKING:  # who only asks for the winner needs no TensorFlow
    from bloodyspy.model.training import Recorder

logger = logging.getLogger(__name__)

_POLL = 2.0  # seconds between two looks at whether the last trials of other workers are over

Watch = Callable[[Epoch], None]
Train = Callable[["str", Candidate, InputSpec, Checkpoint, "Recorder", Settings, Watch], tuple[Epoch, ...]]
"""As :func:`bloodyspy.model.training.train`."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial that came to its end."""

    number: int
    """From 1, as in the names of the study's runs."""
    fields: dict[str, str]
    """What it had of the space, in words."""
    val_loss: float
    """Lowest of its epochs."""
    epochs: int


@dataclass(frozen=True, slots=True)
class Found:
    """A study that is over."""

    candidate: Candidate
    """The winner: the one with the lowest loss on the validation part."""
    best: tuple[Tried, ...]
    """Best first."""
    completed: int
    pruned: int
    failed: int

    @property
    def words(self) -> str:
        """How many trials there were, for people."""
        return f"{self.completed} trials ran to their end, {self.pruned} were ended early, {self.failed} failed"


def tune(name: str, s: Settings, p: Params, recorder: "Recorder", train: Train, code: str = "") -> Found:
    """Work on a study until it is over; other processes may do so at the same time.

    Args:
        name: a study of params.yaml.
        recorder: of the study's run; each trial becomes a child of it.
        train: trains one candidate.
        code: digest of the code that trains. Another code, space, base candidate, data set or weights file is another
            study.

    Raises:
        ParamsError: there is no such study.
        DataMissing: there is no manifest or prepared array.
        WeightsUnavailable: a weights file is not there.
        SettingsError: the storage of studies cannot be reached.
        TrainingFailed: no trial ended with a usable network.
    """
    worker = _Worker(name, s, p, recorder, train, code)
    while worker.one_trial():
        pass
    return worker.found()


class _Worker:
    def __init__(self, name: str, s: Settings, p: Params, recorder: "Recorder", train: Train, code: str) -> None:
        self._name, self._settings, self._params, self._recorder, self._train = name, s, p, recorder, train
        self._declared = p.study(name)
        self._base = p.candidate(self._declared.candidate)
        space = self._declared.space
        inputs = [str(name) for name in (space["input"].samples if "input" in space else [self._base.input])]
        key = key_of(
            self._base.model_dump_json(),
            manifests.digest(s.manifest),
            code,
            *(f"{key}: {domain.model_dump_json()}" for key, domain in space.items()),
            *(p.inputs[name].model_dump_json() for name in inputs),
            *(_digest(s.prepared(name)) for name in inputs),
            *self._weights(),
        )
        self._folder = s.tuning / f"{name}-{key}"
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._claims():
            self._study = studies.open_study(self._folder.name, self._declared, s)
            recorder.begin(studies.identity_of(self._study))
        self._waits = False

    def _weights(self) -> Iterator[str]:
        """Digests of the weights files that a trial may begin with."""
        space = self._declared.space
        for name in space["weights"].samples if "weights" in space else [self._base.weights]:
            file = weights.locate(str(name), self._settings.weights)
            yield sha256(file) if file else ""

    def _claims(self) -> FileLock:
        """Held while a trial is being claimed: workers on this machine do so one after the other."""
        return FileLock(self._folder / "lock")

    def _checkpoint(self, trial: FrozenTrial) -> Checkpoint:
        return Checkpoint(self._folder / f"trial-{studies.origin_of(trial):04d}")

    def one_trial(self) -> bool:
        """Work on one trial, or wait for those of others; tells whether there may be more to do."""
        with self._claims() as claim:
            self._take_from_the_dead()
            trials = studies.latest(self._study)
            waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
            # Optuna hands out what waits before it begins another.
            if not all(map(self._held, waiting)) or (not waiting and len(trials) < self._declared.trials):
                self._run(claim)
                return True
        running = [trial for trial in trials if trial.state in (TrialState.WAITING, TrialState.RUNNING)]
        if not running:
            return False
        if not self._waits:
            numbers = ", ".join(str(studies.number_of(self._study, trial)) for trial in running)
            logger.info("%s: waiting for trial %s of another worker", self._name, numbers)
        self._waits = True
        time.sleep(_POLL)
        return True

    def _held(self, trial: FrozenTrial) -> bool:
        """Whether another process on this machine works on a trial, whatever the storage thinks."""
        try:
            with self._checkpoint(trial).held():
                return False
        except TrainingFailed:
            return True

    def _take_from_the_dead(self) -> None:
        here = studies.on_this_machine(self._settings)
        if not here:
            studies.take_from_the_silent(self._study)
        for trial in studies.latest(self._study):
            checkpoint = self._checkpoint(trial)
            running = here and trial.state == TrialState.RUNNING
            # Of a trial that is over nothing is left: who wanted to queue this one again was killed before that.
            left = trial.state == TrialState.FAIL and studies.may_go_on(trial) and checkpoint.folder.is_dir()
            if not running and not left:
                continue
            # Who works on a trial holds its checkpoint until the storage knows how it ended and who goes on.
            with contextlib.suppress(TrainingFailed), checkpoint.held():
                begun = checkpoint.finished.is_dir() or checkpoint.load() is not None
                now = {one.number: one.state for one in studies.latest(self._study)}
                if (running or begun) and now.get(trial.number) == trial.state:  # else it ended a moment ago
                    studies.give_up(self._study, trial)

    def _run(self, claim: BaseFileLock) -> None:
        """Let Optuna begin a trial or take a waiting one; ``claim`` is given back as soon as it is ours."""
        self._waits = False
        self._study.sampler = studies.sampler(self._declared, len(self._study.get_trials(deepcopy=False)))
        claimed: list[optuna.Trial] = []
        ours = False  # whether this worker came to hold the trial's checkpoint
        with contextlib.ExitStack() as held:

            def objective(trial: optuna.Trial) -> float:
                nonlocal ours
                claimed.append(trial)
                checkpoint = self._checkpoint(self._frozen(trial))
                held.enter_context(checkpoint.held())
                ours = True
                claim.release()
                return self._objective(trial, checkpoint)

            try:
                self._study.optimize(objective, n_trials=1, catch=(TrainingFailed,))
            except BaseException as exc:
                if claimed and not self._taken(claimed[0]):
                    mendable = isinstance(exc, KeyboardInterrupt | BloodySpyError) or full_disk(exc)  # by a person
                    studies.put_back(self._study, self._frozen(claimed[0]), deaths=0 if mendable else 1)
                elif claimed and isinstance(exc, ValueError):  # Optuna's answer to who tells it of a trial that is over
                    logger.info("%s: a trial was queued again while this worker was not heard of", self._name)
                    return
                raise
            over = self._frozen(claimed[0])
            if not ours:
                studies.put_back(self._study, over, deaths=0)
                return
            shutil.rmtree(self._checkpoint(over).folder, ignore_errors=True)
        self._tell(over)

    def _objective(self, trial: optuna.Trial, checkpoint: Checkpoint) -> float:
        candidate = studies.suggest(trial, self._declared, self._base)
        number = studies.number_of(self._study, self._frozen(trial))
        fields = self._fields(candidate)
        logger.info("%s: trial %d: %s", self._name, number, ", ".join(f"{k} {v}" for k, v in fields.items()))
        state = checkpoint.load()
        losses = {row.epoch: row.val_loss for row in state.history} if state else {}
        for epoch, loss in losses.items():
            trial.report(loss, epoch)
        title = f"{self._name} trial {number}"
        try:
            with self._recorder.child(title, {**candidate.facts(), "seeds": "1", "trial": str(number)}) as child:

                def note(row: Epoch) -> None:
                    losses[row.epoch] = row.val_loss
                    trial.report(row.val_loss, row.epoch)
                    child.numbers({"best_val_loss": min(losses.values())})

                def watch(row: Epoch) -> None:
                    if row.epoch in losses:
                        return
                    note(row)
                    if row.epoch < candidate.epochs and trial.should_prune():
                        raise Pruned(f"Trial {number} was ended after epoch {row.epoch}: others were better by then.")

                spec = self._params.inputs[candidate.input]
                history = self._train(title, candidate, spec, checkpoint, child, self._settings, watch)
                for row in history:  # a training that was finished before tells nothing to those who watch
                    if row.epoch not in losses:
                        note(row)
        except Pruned as exc:
            raise optuna.TrialPruned(str(exc)) from exc
        except TrainingFailed as exc:
            logger.warning("%s: trial %d failed: %s", self._name, number, exc)
            raise
        return kept_of(history, candidate.epochs).val_loss

    def _taken(self, trial: optuna.Trial) -> bool:
        """Whether another worker thought this one dead, and queued its trial again."""
        return trial.number not in {one.number for one in studies.latest(self._study)}

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[trial.number]

    def _fields(self, candidate: Candidate) -> dict[str, str]:
        return {key: candidate.facts()[key] for key in self._declared.space}

    def _tell(self, trial: FrozenTrial) -> None:
        """How the study stands after a trial: to the person, and to the study's run."""
        trials = studies.latest(self._study)
        counts = Counter(trial.state for trial in trials)
        over = sum(trial.state.is_finished() for trial in trials)
        numbers: dict[str, float] = {
            "trials": over,
            "trials_pruned": counts[TrialState.PRUNED],
            "trials_failed": counts[TrialState.FAIL],
        }
        best = studies.completed(trials)
        if best:
            numbers |= {"best_val_loss": _loss(best[0]), "best_trial": studies.number_of(self._study, best[0])}
        self._recorder.numbers(numbers)
        durations = [trial.duration.total_seconds() for trial in trials if trial.duration is not None]
        remaining = max(0, self._declared.trials - over)
        left = remaining * sum(durations) / max(1, len(durations)) / (counts[TrialState.RUNNING] + 1)
        outcome = {
            TrialState.COMPLETE: f"validation loss {trial.value or math.nan:.3g}",
            TrialState.PRUNED: f"ended early after epoch {trial.last_step}",
        }.get(trial.state, "failed")
        logger.info(
            "%s: trial %d: %s; %s%d of %d over, about %.0f min %02.0f s left",
            self._name,
            studies.number_of(self._study, trial),
            outcome,
            f"best {_loss(best[0]):.3g} of trial {studies.number_of(self._study, best[0])}; " if best else "",
            over,
            self._declared.trials,
            *divmod(left, 60),
        )

    def found(self) -> Found:
        """What came of the study."""
        trials = studies.latest(self._study)
        best = studies.completed(trials)
        counts = Counter(trial.state for trial in trials)
        if not best:
            raise TrainingFailed(
                f"None of the {len(trials)} trials of {self._name} ended with a usable network. Their runs in MLflow "
                f"tell why; narrow `tuning.{self._name}.space` in params.yaml."
            )
        candidates = [studies.candidate_of(trial) for trial in best]
        return Found(
            candidate=candidates[0],
            best=tuple(
                Tried(
                    studies.number_of(self._study, trial), self._fields(candidate), _loss(trial), trial.last_step or 0
                )
                for trial, candidate in zip(best, candidates, strict=True)
            ),
            completed=len(best),
            pruned=counts[TrialState.PRUNED],
            failed=counts[TrialState.FAIL],
        )


def _digest(prepared: Path) -> str:
    load_prepared(prepared)  # tells what to run where it is missing
    return sha256(prepared / ARRAY_FILE)


def _loss(trial: FrozenTrial) -> float:
    assert trial.value is not None  # of a completed trial
    return trial.value
