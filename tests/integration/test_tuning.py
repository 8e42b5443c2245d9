"""A search by workers that come and go: real Optuna on SQLite, real MLflow on SQLite, real processes, real kills."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tiny_project import declare_study, make_tiny_project
from trained import train

from bloodyspy.adapters.tracking import recording_study
from bloodyspy.errors import DataMissing, SettingsError, TrainingFailed, WeightsUnavailable
from bloodyspy.model import study as studies
from bloodyspy.model import tuning
from bloodyspy.model.checkpoint import Checkpoint, Epoch
from bloodyspy.model.tuning import tune
from bloodyspy.params import load_params
from bloodyspy.settings import Settings

WORKER = Path(__file__).parents[1] / "trained.py"


class Notes:
    """A recorder that only remembers how the runs below it ended."""

    run_id = "r1"

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.children: list[tuple[str, dict[str, str], str]] = []

    def begin(self, identity: str) -> int:
        return 0

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None: ...

    def numbers(self, metrics: Mapping[str, float]) -> None:
        self.metrics |= metrics

    @contextlib.contextmanager
    def child(self, name: str, facts: Mapping[str, str]) -> Iterator["Notes"]:
        try:
            yield Notes()
        except BaseException as exc:
            self.children.append((name, dict(facts), type(exc).__name__))
            raise
        self.children.append((name, dict(facts), "finished"))


def runs(settings: Settings) -> tuple[Run, dict[str, Run]]:
    """The run of the study, and those below it by name."""
    client = MlflowClient(settings.mlflow_uri)
    (experiment,) = client.search_experiments(filter_string=f"name = '{settings.experiment}'")
    found = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in found if "mlflow.parentRunId" not in run.data.tags)
    below = {run.info.run_name: run for run in found if run.info.run_id != parent.info.run_id}
    assert {run.data.tags["mlflow.parentRunId"] for run in below.values()} == {parent.info.run_id}
    assert len(below) == len(found) - 1
    return parent, below


def epochs_of(settings: Settings, run: Run) -> list[int]:
    history = MlflowClient(settings.mlflow_uri).get_metric_history(run.info.run_id, "val_loss")
    return [point.step for point in history]


def until(condition: Callable[[], bool], processes: list["subprocess.Popen[bytes]"], log: Path) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert all(process.poll() is None for process in processes), log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


def test_a_search_finds_the_best_of_the_space(settings: Settings) -> None:
    make_tiny_project(settings, epochs=4)
    notes = Notes()
    found = tune("tuned", settings, declare_study(settings, 12), notes, train)
    assert found.completed + found.pruned == 12
    assert found.pruned > 0
    assert found.failed == 0
    assert 0.003 < found.candidate.learning_rate < 0.03  # 0.01 is best by the formula
    assert found.candidate.learning_rate == float(found.best[0].fields["learning_rate"])
    assert found.best[0].val_loss == min(trial.val_loss for trial in found.best) == notes.metrics["best_val_loss"]
    assert notes.metrics["trials_pruned"] == [end for *_, end in notes.children].count("Pruned") == found.pruned
    best_run = next(facts for _, facts, _ in notes.children if facts["trial"] == str(found.best[0].number))
    assert best_run == {**found.candidate.facts(), "trial": str(found.best[0].number)}
    assert not list(settings.tuning.glob("*/trial-*"))  # nothing is left of trials that are over

    more = declare_study(settings, 14)
    again = tune("tuned", settings, more, notes, train)
    assert (again.completed + again.pruned, len(notes.children)) == (14, 14)
    tune("tuned", settings, more, notes, train)
    assert len(notes.children) == 14  # it is over

    for changes in (
        {"space": {"learning_rate": {"low": 1e-3, "high": 1e-1}}},
        {"pruner": {"kind": "successive_halving", "warm_up_epochs": 1, "reduction": 2}},
    ):
        other = Notes()
        found = tune("tuned", settings, declare_study(settings, 3, **changes), other, train)
        assert len(other.children) == (3 if "space" in changes else 0)  # another space is another study


class Disturbed:
    """A training to which something happens after the checkpoint of an epoch, before anybody is told of it."""

    def __init__(self, happens: Mapping[int, Callable[[], object]]) -> None:
        self.epochs: list[int] = []
        self._happens = happens

    def __call__(self, *arguments: object) -> tuple[Epoch, ...]:
        *others, watch = arguments

        def told(row: Epoch) -> None:
            self.epochs.append(row.epoch)
            self._happens.get(row.epoch, tuple)()
            watch(row)  # type: ignore[operator]

        return train(*others, told)  # type: ignore[arg-type]


def raising(error: BaseException) -> Callable[[], object]:
    def happens() -> None:
        raise error

    return happens


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SettingsError("wrong"), OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "full")]
)
def test_a_trial_goes_on_after_what_a_person_can_mend(settings: Settings, error: BaseException) -> None:
    make_tiny_project(settings, epochs=6)
    params = declare_study(settings, 1)
    training = Disturbed(dict.fromkeys((1, 2, 3, 5), raising(error)))  # more often than workers may die over a trial
    for _ in range(4):
        with pytest.raises(type(error)):
            tune("tuned", settings, params, Notes(), training)
    found = tune("tuned", settings, params, Notes(), training)
    assert training.epochs == [1, 2, 3, 4, 5, 6]
    assert (found.completed, found.failed, found.best[0].number, found.best[0].epochs) == (1, 0, 1, 6)


def test_a_trial_that_was_left_out_is_not_taken_up_again(settings: Settings) -> None:
    make_tiny_project(settings, epochs=9)
    params = declare_study(settings, 1)
    training = Disturbed(dict.fromkeys(range(1, 9), raising(MemoryError())))
    for _ in range(4):
        with pytest.raises(MemoryError):
            tune("tuned", settings, params, Notes(), training)
    assert list(settings.tuning.glob("*/trial-*/state.npz"))
    with pytest.raises(TrainingFailed, match="None of the 1 trials"):
        tune("tuned", settings, params, Notes(), training)
    assert training.epochs == [1, 2, 3, 4]


def test_a_trial_goes_on_when_who_handed_it_on_was_killed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny_project(settings)
    params = declare_study(settings, 1)
    training = Disturbed({2: raising(KeyboardInterrupt())})
    with monkeypatch.context() as killed:
        killed.setattr(studies, "put_back", lambda *_, **__: None)  # it has failed, and is not queued again
        with pytest.raises(KeyboardInterrupt):
            tune("tuned", settings, params, Notes(), training)
    found = tune("tuned", settings, params, Notes(), training)
    assert training.epochs == [1, 2, 3]
    assert (found.completed, found.failed) == (1, 0)


@pytest.mark.parametrize("noticed", [True, False], ids=["before it is claimed", "after it is claimed"])
def test_a_trial_that_another_process_holds_is_left_to_it(
    settings: Settings, noticed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_project(settings)
    params = declare_study(settings, 1)
    training = Disturbed({2: raising(KeyboardInterrupt())})
    with pytest.raises(KeyboardInterrupt):
        tune("tuned", settings, params, Notes(), training)
    (folder,) = settings.tuning.glob("*/trial-*")
    holding, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with Checkpoint(folder).held():
            holding.set()
            enough.wait(60)
            assert (folder / "state.npz").exists()

    monkeypatch.setattr(tuning, "_POLL", 0.1)
    if not noticed:
        monkeypatch.setattr(tuning._Worker, "_held", lambda *_: False)
    with ThreadPoolExecutor(1) as other:
        held = other.submit(hold)
        assert holding.wait(60)
        threading.Timer(0.5, enough.set).start()
        found = tune("tuned", settings, params, Notes(), training)
        held.result()
    assert training.epochs == [1, 2, 3]
    assert (found.completed, found.failed, found.best[0].number) == (1, 0, 1)


def test_a_worker_that_was_thought_dead_goes_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "on_this_machine", lambda _: False)  # as with a server, whose storage has heartbeats
    make_tiny_project(settings, epochs=4)
    params = declare_study(settings, 1)

    def taken() -> None:
        (name,) = (folder.name for folder in settings.tuning.iterdir())
        study = optuna.load_study(study_name=name, storage=settings.tuning_uri)
        studies.give_up(study, studies.latest(study)[0])

    training = Disturbed({2: taken})
    found = tune("tuned", settings, params, Notes(), training)
    assert training.epochs == [1, 2, 3, 4]
    assert (found.completed, found.failed, found.best[0].number, found.best[0].epochs) == (1, 0, 1, 4)


def test_a_trial_killed_after_its_last_epoch_keeps_its_curve(settings: Settings) -> None:
    make_tiny_project(settings, epochs=4)
    params = declare_study(settings, 1)
    curve: list[Epoch] = []

    def killed_at_the_end(*arguments: Any) -> tuple[Epoch, ...]:
        *others, _ = arguments
        checkpoint = arguments[3]
        if not curve:
            curve.extend(train(*others, lambda _: None))
            (checkpoint.folder / "finishing").mkdir()
            checkpoint.finish(checkpoint.folder / "finishing")
            raise KeyboardInterrupt
        return tuple(curve)

    with pytest.raises(KeyboardInterrupt):
        tune("tuned", settings, params, Notes(), killed_at_the_end)
    found = tune("tuned", settings, params, Notes(), killed_at_the_end)
    assert (found.best[0].epochs, found.best[0].val_loss) == (4, curve[-1].val_loss)


def test_other_pictures_or_weights_are_another_study(settings: Settings) -> None:
    weights, pictures = settings.root / "start.pth", settings.prepared("px32") / "images.npy"
    make_tiny_project(settings, weights="start.pth")
    params = declare_study(settings, 1)
    with pytest.raises(WeightsUnavailable, match=r"start\.pth"):
        tune("tuned", settings, params, Notes(), train)
    weights.write_bytes(b"1")
    notes = Notes()
    for begun in (1, 1):
        tune("tuned", settings, params, notes, train)
        assert len(notes.children) == begun
    weights.write_bytes(b"2")
    tune("tuned", settings, params, notes, train)
    assert len(notes.children) == 2
    np.save(pictures, 255 - np.load(pictures))
    tune("tuned", settings, params, notes, train)
    assert len(notes.children) == 3
    pictures.unlink()
    with pytest.raises(DataMissing, match="prepare@px32"):
        tune("tuned", settings, params, notes, train)


def test_a_search_in_which_every_trial_fails_says_what_to_do(settings: Settings) -> None:
    def failing(*_: object) -> tuple[Epoch, ...]:
        raise TrainingFailed("The loss is no number any more.")

    make_tiny_project(settings)
    notes = Notes()
    with pytest.raises(TrainingFailed, match=r"None of the 3 trials.*tuning\.tuned\.space"):
        tune("tuned", settings, declare_study(settings, 3), notes, failing)
    assert [end for *_, end in notes.children] == ["TrainingFailed"] * 3
    assert notes.metrics["trials_failed"] == 3


def test_two_workers_share_a_study_and_one_takes_over_when_the_other_is_killed(settings: Settings) -> None:
    make_tiny_project(settings, epochs=5)
    params = declare_study(settings, 5, pruner={"kind": "none"})
    with recording_study("tuned", settings, params) as recorder:
        recorder.begin("warm")  # MLflow's tables are there before the two start
    MlflowClient(settings.mlflow_uri).delete_run(recorder.run_id)
    log = settings.root / "log"
    with log.open("wb") as stream:
        workers = [
            subprocess.Popen(
                [sys.executable, WORKER],
                cwd=settings.root,
                env={**os.environ, "BLOODYSPY_TEST_SECONDS": "0.4", "PYTHONPATH": str(WORKER.parent)},
                stderr=stream,
            )
            for _ in range(2)
        ]
        until(lambda: len(list(settings.tuning.glob("*/trial-*/state.npz"))) == 2, workers, log)
        killed, survivor = workers
        killed.kill()
        killed.wait()
        assert survivor.wait(240) == 0, log.read_text()
    assert log.read_text().count("its worker ended before it did; it goes on") == 1, log.read_text()
    parent, below = runs(settings)
    assert (parent.info.status, parent.data.metrics["trials"], parent.data.metrics["trials_failed"]) == (
        "FINISHED",
        5,
        0,
    )
    assert parent.data.tags["space.learning_rate"] == "0.0001 to 0.1, logarithmic"
    assert sorted(below) == [f"tuned trial {number}" for number in range(1, 6)]
    for run in below.values():
        assert run.info.status == "FINISHED"
        assert epochs_of(settings, run) == [1, 2, 3, 4, 5]  # none lost, none told twice
    rates = {run.data.params["learning_rate"] for run in below.values()}
    assert len(rates) == 5


def start(settings: Settings, log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "bloodyspy.cli", "tune", "tuned", *arguments],
            cwd=settings.root,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        )


def test_after_kill_9_of_everything_the_same_command_goes_on_and_writes_the_winner(settings: Settings) -> None:
    make_tiny_project(settings, epochs=40)
    params = declare_study(settings, 2, pruner={"kind": "none"})
    log = settings.root / "log"
    process = start(settings, log, "--workers", "2")
    until(lambda: len(list(settings.tuning.glob("*/trial-*/state.npz"))) == 2, [process], log)
    process.kill()  # the two workers are on its leash
    process.wait()
    deadline = time.monotonic() + 60
    while _working(settings):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    _, below = runs(settings)
    before = {name: len(epochs_of(settings, run)) for name, run in below.items()}
    assert max(before.values()) < 40, before

    process = start(settings, log)
    assert process.wait(400) == 0, log.read_text()
    assert log.read_text().count("going on after epoch") == 2, log.read_text()
    parent, below = runs(settings)
    assert parent.info.status == "FINISHED"
    assert set(below) == set(before) == {"tuned trial 1", "tuned trial 2"}
    for run in below.values():
        assert run.info.status == "FINISHED"
        epochs = epochs_of(settings, run)
        assert epochs == list(range(1, len(epochs) + 1))
    best = below[f"tuned trial {parent.data.metrics['best_trial']:.0f}"]
    candidates = load_params(settings.root / "params.yaml").candidates
    assert candidates["tiny"] == params.candidates["tiny"]
    assert candidates["tuned"].facts().items() <= best.data.params.items()
    assert float(best.data.params["learning_rate"]) == candidates["tuned"].learning_rate


def _working(settings: Settings) -> set[int]:
    """Processes of ours in the project's folder that have not ended."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")
            if (process / "cwd").readlink() == settings.root and b"tune" in command:
                found.add(int(process.name))
    return found


def test_an_interrupt_ends_every_worker(settings: Settings) -> None:
    make_tiny_project(settings)
    declare_study(settings, 2)
    log = settings.root / "log"
    process = start(settings, log, "--workers", "2")
    until(lambda: len(_working(settings)) == 5, [process], log)  # this one, two leashes, two workers
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    deadline = time.monotonic() + 60
    while _working(settings):
        assert time.monotonic() < deadline
        time.sleep(0.2)
