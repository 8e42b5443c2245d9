"""A fit runs through, goes on after a kill where it was, and is never done twice."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from numpy.typing import NDArray
from tiny_project import make_tiny_project, pictures

from bloodyspy.adapters.tracking import recording
from bloodyspy.dataset.manifest import read_manifest, write_manifest
from bloodyspy.errors import DataMissing, TrainingFailed
from bloodyspy.model.backend import keras
from bloodyspy.model.checkpoint import Checkpoint
from bloodyspy.model.fits import Fit, fit, network_of, read_fit
from bloodyspy.model.parts import load_parts
from bloodyspy.params import Params
from bloodyspy.settings import Settings

# Keras 3.15 reads TensorFlow's variables through a call that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


class Notes:
    """A recorder that only remembers, and that can break off after an epoch."""

    def __init__(self, run_id: str = "r1", recorded: int = 0, break_off_after: int | None = None) -> None:
        self.run_id, self._recorded, self._last = run_id, recorded, break_off_after
        self.identity, self.epochs = "", dict[int, dict[str, float]]()
        self.told, self.children = dict[str, float](), list["Notes"]()

    def begin(self, identity: str) -> int:
        self.identity = identity
        return self._recorded

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        assert number not in self.epochs
        self.epochs[number] = dict(metrics)
        if number == self._last:
            raise KeyboardInterrupt

    def numbers(self, metrics: Mapping[str, float]) -> None:
        self.told = dict(metrics)

    @contextmanager
    def child(self, name: str, facts: Mapping[str, str]) -> Iterator["Notes"]:
        self.children.append(Notes(run_id=f"{self.run_id}/{name}/{facts['seed']}"))
        yield self.children[-1]


def history_of(settings: Settings) -> pd.DataFrame:
    return pd.read_csv(settings.fit("tiny") / "history.csv")


def answers_of(settings: Settings) -> NDArray[np.float32]:
    network = keras.models.load_model(settings.fit("tiny") / "network.keras", compile=False)
    return np.asarray(network.predict(pictures(5, seed=77)[0], verbose=0))


def only_checkpoint(settings: Settings) -> Path:
    (folder,) = (settings.state / "checkpoints").iterdir()
    return folder


def test_a_fit_learns_is_described_and_is_not_done_twice(settings: Settings) -> None:
    params = make_tiny_project(settings, epochs=12, learning_rate=0.01)
    notes = Notes()
    done = fit("tiny", settings, params, notes)
    assert done == read_fit(settings.fit("tiny"))
    assert done.kept.epochs == 12
    assert done.model_dump(exclude={"seeds"}) == {
        "run_id": "r1",
        "candidate": "tiny",
        "network": "small_cnn",
        "input": {"size": 32, "resize": None},
        "parameters": 469_792,
        "seed": params.candidates["tiny"].seed,
        "git_commit": "unknown",
        "data_version": "a" * 32,
        "manifest_digest": done.manifest_digest,
        "synthetic": True,
    }
    history = history_of(settings)
    assert history["epoch"].tolist() == list(notes.epochs) == list(range(1, 13))
    assert done.kept.kept_epoch == 12
    assert done.kept.val_loss == pytest.approx(history["val_loss"].iloc[-1])
    assert (history[["images_per_second", "memory_mb", "seconds"]] > 0).all(axis=None)
    assert history["learning_rate"].iloc[-1] == pytest.approx(0, abs=1e-7)
    network = keras.models.load_model(settings.fit("tiny") / "network.keras", compile=False)
    new, labels = pictures(5, seed=77)
    assert (network.predict(new, verbose=0).argmax(axis=1) == labels).mean() > 0.9

    # DVC removes the outs before it runs a stage again: the result must come back without training.
    written = (settings.fit("tiny") / "network.keras").read_bytes()
    shutil.rmtree(settings.fit("tiny"))
    again = Notes(recorded=10)
    assert fit("tiny", settings, params, again) == done
    assert (settings.fit("tiny") / "network.keras").read_bytes() == written
    assert list(again.epochs) == [11, 12]  # what the run did not have yet
    assert again.identity == notes.identity

    # A tracking store that lost the run gives a new one: the fit is the same, its run is the new one.
    moved = fit("tiny", settings, params, Notes(run_id="r2"))
    assert (moved.run_id, moved.kept.run_id) == ("r2", "r2")
    assert moved.model_dump(exclude={"run_id", "seeds"}) == done.model_dump(exclude={"run_id", "seeds"})

    # Another candidate under the same name is another fit, and takes the place of the first.
    fit("tiny", settings, make_changed(params, epochs=1), other := Notes())
    assert other.identity != notes.identity
    assert len(history_of(settings)) == 1
    assert len(list((settings.state / "checkpoints").iterdir())) == 1


def test_pictures_prepared_otherwise_are_another_fit(settings: Settings) -> None:
    params = make_tiny_project(settings, epochs=1)
    fit("tiny", settings, params, first := Notes())
    array = settings.prepared("px32") / "images.npy"
    np.save(array, np.load(array)[:, ::-1])
    fit("tiny", settings, params, second := Notes())
    assert second.identity != first.identity
    assert list(second.epochs) == [1]


def make_changed(params: Params, **changes: float) -> Params:
    tiny = params.candidates["tiny"].model_copy(update=changes)
    return params.model_copy(update={"candidates": {"tiny": tiny}})


@pytest.mark.parametrize(
    "recipe", [{}, {"weight_averaging": 0.8, "augmentation": "full", "weight_decay": 0.05, "targets": "subtypes"}]
)
def test_an_interrupted_fit_ends_where_the_uninterrupted_one_does(
    settings: Settings, recipe: dict[str, str | float]
) -> None:
    params = make_tiny_project(settings, epochs=4, **recipe)
    fit("tiny", settings, params, Notes())
    straight, expected = history_of(settings), answers_of(settings)
    only_checkpoint(settings).rename(settings.state / "straight")
    with pytest.raises(KeyboardInterrupt):
        fit("tiny", settings, params, Notes(break_off_after=2))
    notes = Notes(recorded=1)
    fit("tiny", settings, params, notes)
    assert list(notes.epochs) == [2, 3, 4]
    same = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    pd.testing.assert_frame_equal(history_of(settings)[same], straight[same], rtol=0.05, atol=1e-3)
    np.testing.assert_allclose(answers_of(settings), expected, atol=0.03)


def test_a_training_that_ends_early_keeps_its_best_epoch(settings: Settings) -> None:
    """Which here was before a kill: its weights come out of the checkpoint."""
    params = make_tiny_project(settings, epochs=6, patience=3, learning_rate=0.01, warm_up=0.0)
    with pytest.raises(KeyboardInterrupt):
        fit("tiny", settings, params, Notes(break_off_after=3))
    checkpoint = Checkpoint(only_checkpoint(settings) / "seed-1")
    state = checkpoint.load()
    assert state is not None
    best = state.history[1].model_copy(update={"val_loss": 1e-6})
    checkpoint.save(dataclasses.replace(state, history=(state.history[0], best, state.history[2])))
    done = fit("tiny", settings, params, Notes(recorded=3))
    assert (done.kept.epochs, done.kept.kept_epoch) == (5, 2)
    network = keras.models.load_model(settings.fit("tiny") / "network.keras", compile=False)
    for kept, expected in zip(network.weights, state.kept, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(kept), expected)


def test_after_kill_9_the_same_command_goes_on_in_the_same_run(settings: Settings) -> None:
    params = make_tiny_project(settings, epochs=40, patience=40)
    command = [sys.executable, "-m", "bloodyspy.cli", "train", "tiny"]
    # A process group of its own: whatever it started dies with it, as on a machine that runs out of memory.
    process = subprocess.Popen(command, cwd=settings.root, start_new_session=True, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 240
    while not list(settings.state.glob("checkpoints/*/seed-*/state.npz")):
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not settings.fit("tiny").exists()
    state = Checkpoint(only_checkpoint(settings) / "seed-1").load()
    assert state is not None
    assert 1 <= len(state.history) < 40

    client = MlflowClient(settings.mlflow_uri)
    (experiment,) = client.search_experiments(filter_string=f"name = '{settings.experiment}'")
    (killed,) = client.search_runs([experiment.experiment_id])
    assert killed.info.status == "RUNNING"

    with recording("tiny", settings, params) as recorder:
        done = fit("tiny", settings, params, recorder)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == killed.info.run_id == done.run_id
    assert run.info.status == "FINISHED"
    for metric in ("loss", "val_loss", "images_per_second", "memory_mb"):
        assert [point.step for point in client.get_metric_history(done.run_id, metric)] == list(range(1, 41))
    history = history_of(settings)
    np.testing.assert_allclose(history["val_loss"].iloc[: len(state.history)], [row.val_loss for row in state.history])
    assert history["val_accuracy"].iloc[-1] > 0.9


def test_several_seeds_are_runs_below_one_and_the_best_is_kept(settings: Settings) -> None:
    params = make_tiny_project(settings, epochs=2, seeds=3, seed=4)
    done = fit("tiny", settings, params, notes := Notes())
    assert [child.run_id for child in notes.children] == [f"r1/tiny seed {seed}/{seed}" for seed in (4, 5, 6)]
    assert [one.run_id for one in done.seeds] == [child.run_id for child in notes.children]
    assert done.kept.val_loss == min(one.val_loss for one in done.seeds)
    losses = [min(epoch["val_loss"] for epoch in child.epochs.values()) for child in notes.children]
    assert [one.val_loss for one in done.seeds] == losses
    assert len(set(losses)) == 3
    assert notes.told["seeds_mean_val_loss"] == pytest.approx(np.mean(losses))
    assert notes.told["seeds_sd_val_loss"] == pytest.approx(np.std(losses, ddof=1))
    assert notes.epochs == notes.children[done.seed - 4].epochs
    kept = (settings.fit("tiny") / "network.keras").read_bytes()
    assert [network_of(settings.fit("tiny"), seed).read_bytes() == kept for seed in (4, 5, 6)].count(True) == 1
    # A store that lost the runs is told all of them again.
    moved = fit("tiny", settings, params, again := Notes(run_id="r2"))
    assert [one.run_id for one in moved.seeds] == [f"r2/tiny seed {seed}/{seed}" for seed in (4, 5, 6)]
    assert [set(child.epochs) for child in again.children] == [{1, 2}] * 3
    assert again.told == notes.told
    # A seed is the same alone as among others.
    alone = fit("tiny", settings, make_changed(params, seeds=1, seed=5), Notes())
    assert alone.kept.val_loss == pytest.approx(losses[1], rel=0.05)


def test_a_fit_stops_when_its_patience_ends(settings: Settings) -> None:
    params = make_tiny_project(settings, epochs=30, patience=2, learning_rate=1e-9)
    assert fit("tiny", settings, params, Notes()).kept.epochs < 30


def test_averaged_weights_are_what_is_measured_and_kept(settings: Settings) -> None:
    params = make_tiny_project(settings, epochs=6, learning_rate=0.01, weight_averaging=0.8)
    done = fit("tiny", settings, params, Notes())
    network = keras.models.load_model(settings.fit("tiny") / "network.keras", compile=False)
    _, validation = load_parts(settings, "px32")
    answers = network.predict(validation.fields[validation.rows], verbose=0)
    own = answers[np.arange(len(validation)), validation.labels]
    assert -np.log(own).mean() == pytest.approx(done.kept.val_loss, rel=1e-3)
    plain = fit("tiny", settings, make_changed(params, weight_averaging=0.0), Notes())
    assert plain.kept.val_loss != pytest.approx(done.kept.val_loss, rel=1e-3)


def test_a_share_of_the_training_part_lies_within_a_larger_one(settings: Settings) -> None:
    make_tiny_project(settings)
    quarter, half, whole = (load_parts(settings, "px32", share)[0] for share in (0.25, 0.5, 1.0))
    assert [len(part) for part in (quarter, half, whole)] == [16, 32, 64]
    assert set(quarter.rows) < set(half.rows) < set(whole.rows)
    for part in (quarter, half, whole):
        assert np.bincount(part.labels).tolist() == [len(part) // 8] * 8
    np.testing.assert_array_equal(half.labels, whole.labels[np.isin(whole.rows, half.rows)])


def test_a_class_without_training_pictures_is_told(settings: Settings) -> None:
    params = make_tiny_project(settings)
    manifest = read_manifest(settings.manifest)
    manifest.loc[manifest["cell_type"] == "ig", "part"] = "test"
    write_manifest(manifest, settings.manifest)
    with pytest.raises(TrainingFailed, match=r"no ig\. Import more"):
        fit("tiny", settings, params, Notes())


def test_a_loss_that_is_no_number_ends_the_fit(settings: Settings) -> None:
    params = make_tiny_project(settings, learning_rate=1e30)
    with pytest.raises(TrainingFailed, match="learning_rate"):
        fit("tiny", settings, params, Notes())
    assert not settings.fit("tiny").exists()


def test_missing_pictures_say_what_to_run(settings: Settings) -> None:
    params = make_tiny_project(settings)
    (settings.prepared("px32") / "images.npy").unlink()
    with pytest.raises(DataMissing, match="prepare"):
        fit("tiny", settings, params, Notes())


def test_no_fit_says_what_to_run(settings: Settings) -> None:
    with pytest.raises(DataMissing, match="bloodyspy train tiny"):
        read_fit(settings.fit("tiny"))
    settings.fit("tiny").mkdir(parents=True)
    (settings.fit("tiny") / "fit.json").write_text("{}")
    with pytest.raises(TrainingFailed, match=f"{len(Fit.model_fields)} faults"):
        read_fit(settings.fit("tiny"))
