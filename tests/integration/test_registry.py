"""Versions, aliases and artefacts in a real MLflow on SQLite."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest
from handmade import make_artefact
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from PIL import Image

from bloodyspy.adapters import evaluation_log, registry
from bloodyspy.adapters.evaluation_log import log_evaluation
from bloodyspy.errors import ArtefactInvalid, RegistryError
from bloodyspy.model.artifact import Artefact
from bloodyspy.params import Params
from bloodyspy.settings import Settings, load_settings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose MLflow database is made once: its migration takes seconds."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def s(settings: Settings, store: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a registered model of the test's own in the shared store."""
    monkeypatch.setenv("BLOODYSPY_STATE", str(store))
    monkeypatch.setenv("BLOODYSPY_REGISTERED_MODEL", request.node.name)
    return load_settings()


def start_run(s: Settings) -> str:
    client = registry.connect(s)
    experiment = client.get_experiment_by_name(s.experiment)
    name = experiment.experiment_id if experiment else client.create_experiment(s.experiment, s.mlflow_artifacts)
    run = client.create_run(name)
    client.log_param(run.info.run_id, "network", "colours")
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def trained(s: Settings, name: str = "small_cnn", seed: int = 0, share_right: float = 0.9) -> Artefact:
    place = s.artefact(name)
    shutil.rmtree(place, ignore_errors=True)
    return make_artefact(place, start_run(s), candidate=name, seed=seed, share_right=share_right)


def logged(s: Settings, p: Params, name: str = "small_cnn", seed: int = 0) -> Artefact:
    made = trained(s, name, seed)
    log_evaluation(made, s, p)
    return made


def test_evaluation_lands_on_the_run_of_the_fit(s: Settings, params: Params) -> None:
    made = trained(s)
    (s.fit("small_cnn")).mkdir(parents=True)
    history = {
        "epoch": [1, 2],
        "loss": [1.0, 0.5],
        "accuracy": [0.5, 0.7],
        "val_loss": [1, 0.7],
        "val_accuracy": [0.4, 1],
    }
    pd.DataFrame(history).to_csv(s.fit("small_cnn") / "history.csv", index=False)
    (s.data / "ig").mkdir(parents=True)
    Image.new("RGB", (80, 80), "purple").save(s.data / "ig" / "a.png")
    answers = [
        {"path": "ig/a.png", "part": part, "actual": "ig", "predicted": "monocyte", "confidence": 0.7}
        for part in ("validation", "test")
    ]
    (s.build / "predictions").mkdir()
    pd.DataFrame(answers).to_parquet(s.build / "predictions" / "small_cnn.parquet")

    log_evaluation(made, s, params)
    client = registry.connect(s)
    run = client.get_run(made.spec.run_id)
    assert (
        run.data.metrics["test_accuracy_low"]
        < run.data.metrics["test_accuracy"]
        < run.data.metrics["test_accuracy_high"]
    )
    assert {"validation_macro_f1", "test_ece", "test_sensitivity_ig"} <= set(run.data.metrics)
    for side_by_side in ("stress_mean_balanced_error", "cost_megabytes_graph", "cost_milliseconds_picture"):
        assert run.data.metrics[side_by_side] > 0
    assert "Synthetic" in run.data.tags["mlflow.note.content"]
    assert run.info.status == "FINISHED"
    drawn = {entry.path for entry in client.list_artifacts(made.spec.run_id, "figures")}
    assert drawn == {
        f"figures/{name}.png"
        for name in (
            *("confusion_validation", "confusion_test", "confusion_test_by_subtype", "sensitivity_test"),
            *("reliability_test", "risk_coverage_test", "stress_test", "learning_curves"),
            *("errors_validation", "errors_test"),
        )
    }
    assert {"card.md", "card.html"} <= {entry.path for entry in client.list_artifacts(made.spec.run_id)}
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert model.status == LoggedModelStatus.READY
    assert model.params["network"] == "colours"
    assert {metric.key for metric in model.metrics} >= {"test_accuracy", "validation_ece"}


def test_the_runs_stand_side_by_side_in_the_ui(s: Settings, params: Params) -> None:
    made = logged(s, params)
    client = registry.connect(s)
    run = client.get_run(made.spec.run_id)
    tags = client.get_experiment(run.info.experiment_id).tags
    assert "viewStateShareKey=side-by-side" in tags["mlflow.note.content"]
    view = json.loads(tags["mlflow.sharedViewState.side-by-side"])
    logged_here = {f"metrics.`{name}`" for name in run.data.metrics} | {f"params.`{name}`" for name in run.data.params}
    assert view["orderByKey"] in logged_here
    assert set(view["selectedColumns"]) - {"params.`input`"} <= logged_here


def test_logging_twice_does_nothing_more(s: Settings, params: Params) -> None:
    made = logged(s, params)
    log_evaluation(made, s, params)
    client = registry.connect(s)
    assert len(client.get_run(made.spec.run_id).outputs.model_outputs) == 1
    assert len(client.get_metric_history(made.spec.run_id, "test_accuracy")) == 1


def test_a_killed_logging_is_done_again(s: Settings, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trained(s)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation_log, "_log_metrics", killed)
        with pytest.raises(KeyboardInterrupt):
            log_evaluation(made, s, params)
    with pytest.raises(RegistryError, match="is not logged on its run"):
        registry.register(made, s)
    log_evaluation(made, s, params)
    assert registry.register(made, s) == 1


def test_what_has_no_source_here_is_left_out_with_a_warning(
    s: Settings, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        logged(s, params)
    assert "no learning curves" in caplog.text
    assert "no gallery of errors" in caplog.text


def test_an_artefact_is_registered_once(s: Settings, params: Params) -> None:
    first, second = logged(s, params), logged(s, params, "efficientnet_lite0", seed=1)
    assert [registry.register(made, s) for made in (first, first, second, first)] == [1, 1, 2, 1]
    assert [version.number for version in registry.versions(s)] == [2, 1]
    version = registry.version(s, 1)
    assert (version.artefact_digest, version.run_id) == (first.digest, first.spec.run_id)
    assert version.tags["candidate"] == "small_cnn"
    assert version.tags["synthetic"] == "true"


def test_aliases_move(s: Settings, params: Params) -> None:
    assert registry.champion(s) is None
    assert registry.challenger(s) is None
    assert registry.versions(s) == []
    for name, seed in (("small_cnn", 0), ("efficientnet_lite0", 1)):
        registry.register(logged(s, params, name, seed), s)
    registry.set_champion(1, s)
    registry.set_challenger(2, s)
    champion, challenger = registry.champion(s), registry.challenger(s)
    assert champion is not None
    assert champion.number == 1
    assert champion.aliases == ("champion",)
    assert challenger is not None
    assert challenger.number == 2
    registry.set_champion(2, s)
    now = registry.champion(s)
    assert now is not None
    assert now.number == 2
    assert registry.challenger(s) is None
    assert [version.aliases for version in registry.versions(s)] == [("champion",), ()]
    registry.clear_challenger(s)


def test_the_artefact_of_a_version_is_the_one_that_was_sealed(s: Settings, params: Params) -> None:
    made = logged(s, params)
    registry.register(made, s)
    shutil.rmtree(made.path)
    place = registry.artefact_of(1, s)
    assert Artefact.open(place).digest == made.digest
    (place / "card.md").write_text("forged")
    with pytest.raises(ArtefactInvalid, match=r"card\.md was altered"):
        registry.artefact_of(1, s)


def test_another_artefact_in_the_store_is_refused(s: Settings, params: Params, tmp_path: Path) -> None:
    made = logged(s, params)
    registry.register(made, s)
    place = registry.artefact_of(1, s)
    shutil.rmtree(place)
    make_artefact(place, made.spec.run_id, seed=9)
    with pytest.raises(RegistryError, match="was registered as version 1"):
        registry.artefact_of(1, s)


def test_decisions_are_written_on_the_version(s: Settings, params: Params) -> None:
    registry.register(logged(s, params), s)
    registry.annotate(1, s, tags={"outcome": "refused"}, description="not better")
    registry.annotate(1, s, tags={"by": "the rule"})
    version = registry.version(s, 1)
    assert version.tags["outcome"] == "refused"
    assert version.tags["by"] == "the rule"
    assert version.description == "not better"


def test_unknown_run_and_version_say_what_to_do(s: Settings, params: Params) -> None:
    stranger = make_artefact(s.artefact("small_cnn"), "9" * 32)
    for call in (lambda: log_evaluation(stranger, s, params), lambda: registry.register(stranger, s)):
        with pytest.raises(RegistryError, match="BLOODYSPY_MLFLOW_URI"):
            call()
    for number_call in (registry.set_champion, registry.set_challenger, registry.artefact_of):
        with pytest.raises(RegistryError, match=r"There is no version 7 .* Known: none"):
            number_call(7, s)


def test_a_store_that_cannot_be_used_is_one_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOODYSPY_MLFLOW_URI", f"file://{settings.root}/mlruns")
    with pytest.raises(RegistryError, match="Check that MLflow answers at file:"):
        registry.champion(load_settings())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A real tracking server that keeps the artefacts behind itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = tmp_path / "server"
    place.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = [
        "--backend-store-uri",
        f"sqlite:///{place}/mlflow.db",
        "--artifacts-destination",
        str(place / "artifacts"),
    ]
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *stores],
            env=environment,
            cwd=place,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        address, give_up = f"http://127.0.0.1:{port}", time.monotonic() + 180
        while not _healthy(address):
            assert process.poll() is None, (place / "log").read_text()[-3000:]
            assert time.monotonic() < give_up, (place / "log").read_text()[-3000:]
            time.sleep(0.3)
        yield address
    finally:
        os.killpg(process.pid, 9)
        process.wait(20)


def _healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_from_a_server_the_artefact_is_fetched_once_and_checked(
    settings: Settings, params: Params, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOODYSPY_MLFLOW_URI", served)
    s = load_settings()
    client = registry.connect(s)
    run_id = client.create_run(client.create_experiment(s.experiment)).info.run_id
    made = make_artefact(s.artefact("small_cnn"), run_id)
    log_evaluation(made, s, params)
    assert registry.register(made, s) == registry.register(made, s) == 1
    registry.set_champion(1, s)

    place = registry.artefact_of(1, s)
    assert place.is_relative_to(s.state)
    assert Artefact.open(place).digest == made.digest
    assert [entry.name for entry in place.parent.iterdir()] == [place.name]
    before = place.stat().st_ino
    assert registry.artefact_of(1, s).stat().st_ino == before
    (place / "card.md").write_text("forged")
    with pytest.raises(ArtefactInvalid):
        registry.artefact_of(1, s)


def test_client_is_of_the_settings(s: Settings) -> None:
    assert isinstance(registry.connect(s), MlflowClient)
    assert registry.connect(s).tracking_uri == s.mlflow_uri
