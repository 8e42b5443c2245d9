"""A fit as an MLflow run: real MLflow on sqlite."""

import contextlib
import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tiny_project import make_tiny_project

from bloodyspy.adapters.tracking import IDENTITY, RunRecorder, experiment_id, recording
from bloodyspy.dataset import manifest
from bloodyspy.errors import Pruned, RegistryError
from bloodyspy.params import Params
from bloodyspy.settings import Settings, load_settings

EPOCH = {"loss": 0.5, "val_loss": 0.4, "seconds": 2.0, "images_per_second": 100.0}


@pytest.fixture
def tiny(settings: Settings) -> Params:
    return make_tiny_project(settings)


def run_of(settings: Settings, run_id: str) -> Run:
    return MlflowClient(settings.mlflow_uri).get_run(run_id)


def steps(settings: Settings, run_id: str, metric: str) -> list[int]:
    return [point.step for point in MlflowClient(settings.mlflow_uri).get_metric_history(run_id, metric)]


def test_a_run_says_what_was_fitted_on_what_by_which_code(settings: Settings, tiny: Params) -> None:
    (settings.root / "dvc.lock").write_text("schema: '2.0'\n")
    with recording("tiny", settings, tiny) as recorder:
        assert recorder.begin("a" * 32) == 0
        recorder.epoch(1, EPOCH)
        assert run_of(settings, recorder.run_id).info.status == "RUNNING"
    run = run_of(settings, recorder.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "tiny")
    assert run.data.params["network"] == "small_cnn"
    assert run.data.params["input_size"] == "32"
    assert run.data.metrics == {
        "loss": 0.5,
        "val_loss": 0.4,
        "epoch_seconds": 2.0,
        "images_per_second": 100.0,
    }
    tags = run.data.tags
    assert (tags["candidate"], tags["synthetic"], tags["data_version"]) == ("tiny", "true", "a" * 32)
    assert tags["manifest_digest"] == manifest.digest(settings.manifest)
    assert len(tags["dvc_lock"]) == 64
    assert tags["mlflow.source.git.commit"] == "unknown"  # tmp_path is no repository
    inputs = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert set(inputs) == {"training", "validation"}
    assert {dataset.digest for dataset in inputs.values()} == {"a" * 32}
    assert json.loads(inputs["training"].profile)["num_rows"] == 64
    assert json.loads(inputs["validation"].profile)["platelet"] == 4


def broken_off(settings: Settings, tiny: Params, by: BaseException, epochs: tuple[int, ...]) -> str:
    begun: list[RunRecorder] = []

    def break_off() -> None:
        with recording("tiny", settings, tiny) as recorder:
            begun.append(recorder)
            recorder.begin("a" * 32)
            assert run_of(settings, recorder.run_id).info.status == "RUNNING"
            for number in epochs:
                recorder.epoch(number, EPOCH)
            raise by

    with pytest.raises(type(by)):
        break_off()
    return begun[0].run_id


def test_the_same_fit_is_the_same_run_and_its_epochs_are_counted(settings: Settings, tiny: Params) -> None:
    first = broken_off(settings, tiny, ZeroDivisionError(), epochs=(1, 2))
    assert run_of(settings, first).info.status == "FAILED"

    assert broken_off(settings, tiny, KeyboardInterrupt(), epochs=()) == first
    assert run_of(settings, first).info.status == "KILLED"

    with recording("tiny", settings, tiny) as recorder:
        assert recorder.begin("a" * 32) == 2
        recorder.epoch(3, EPOCH)
    assert recorder.run_id == first
    assert steps(settings, first, "val_loss") == [1, 2, 3]
    run = run_of(settings, first)
    assert run.info.status == "FINISHED"
    assert len(run.inputs.dataset_inputs) == 2

    with recording("tiny", settings, tiny) as recorder:
        assert recorder.begin("b" * 32) == 0
    assert recorder.run_id != first


def test_a_run_that_was_deleted_gives_way_to_a_new_one(settings: Settings, tiny: Params) -> None:
    with recording("tiny", settings, tiny) as recorder:
        recorder.begin("a" * 32)
        recorder.epoch(1, EPOCH)
    lost = recorder.run_id
    MlflowClient(settings.mlflow_uri).delete_run(lost)
    with recording("tiny", settings, tiny) as recorder:
        assert recorder.begin("a" * 32) == 0
    assert recorder.run_id != lost
    assert run_of(settings, recorder.run_id).data.tags[IDENTITY] == "a" * 32


def test_a_child_is_a_run_below_and_ends_as_what_happened_in_it(settings: Settings, tiny: Params) -> None:
    def child_of(parent: RunRecorder, identity: str, ends_by: BaseException | None = None) -> Run:
        with (
            contextlib.suppress(ZeroDivisionError, Pruned),
            parent.child(f"seed {identity}", {"seed": identity}) as child,
        ):
            child.begin(identity)
            child.epoch(1, EPOCH)
            if ends_by is not None:
                raise ends_by
        return run_of(settings, child.run_id)

    with recording("tiny", settings, tiny) as parent:
        with pytest.raises(RegistryError, match="not begun"):
            parent.child("seed 1", {})
        parent.begin("a" * 32)
        good = child_of(parent, "7")
        ends = [child_of(parent, "8", by).info.status for by in (ZeroDivisionError(), Pruned("enough"))]
        parent.numbers({"mean_accuracy": 0.5})
        parent.numbers({"mean_accuracy": 0.6, "spread": 0.1})
    assert (good.info.run_name, good.info.status, ends) == ("seed 7", "FINISHED", ["FAILED", "KILLED"])
    assert good.data.tags["mlflow.parentRunId"] == parent.run_id
    assert (good.data.params["seed"], good.data.params["network"]) == ("7", "small_cnn")
    assert good.data.metrics["val_loss"] == 0.4
    above = run_of(settings, parent.run_id)
    assert above.data.metrics == {"mean_accuracy": 0.6, "spread": 0.1}
    assert above.data.params["seed"] == "1"

    # The store loses the parent: its child is found again, and stands below the new one.
    MlflowClient(settings.mlflow_uri).delete_run(parent.run_id)
    with recording("tiny", settings, tiny) as parent:
        parent.begin("a" * 32)
        again = child_of(parent, "7")
    assert again.info.run_id == good.info.run_id
    assert again.data.tags["mlflow.parentRunId"] == parent.run_id != above.info.run_id


def test_nothing_is_left_of_a_fit_that_never_began(settings: Settings, tiny: Params) -> None:
    with recording("tiny", settings, tiny):
        pass
    assert not (settings.state / "mlflow.db").exists()


def test_artefacts_of_a_local_store_lie_in_the_state(settings: Settings) -> None:
    client = MlflowClient(settings.mlflow_uri)
    experiment = client.get_experiment(experiment_id(client, settings))
    assert experiment.artifact_location == (settings.state / "mlartifacts").as_uri()
    assert experiment_id(client, settings) == experiment.experiment_id


def test_a_store_that_does_not_answer_says_what_to_do(
    settings: Settings, tiny: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("BLOODYSPY_MLFLOW_URI", "http://127.0.0.1:9")
    with (
        pytest.raises(RegistryError, match="BLOODYSPY_MLFLOW_URI"),
        recording("tiny", load_settings(), tiny) as recorder,
    ):
        recorder.begin("a" * 32)
    assert not Path("mlruns").exists()
