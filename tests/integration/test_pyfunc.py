"""The registered model through MLflow's own doors: ``load_model`` and a real ``mlflow models serve``."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from handmade import make_artefact
from mlflow.exceptions import MlflowException
from PIL import Image

from bloodyspy.adapters import registry
from bloodyspy.adapters.evaluation_log import log_evaluation
from bloodyspy.adapters.pyfunc import IMAGE, Pictures
from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import UnreadableImage
from bloodyspy.model.classifier import Classifier
from bloodyspy.params import load_params
from bloodyspy.settings import Settings

ROOT = Path(__file__).parents[2]
WAIT = 180  # seconds that a server may take to come up on a busy machine


def pictures() -> list[bytes]:
    payloads = []
    for i, kind in enumerate(("PNG", "JPEG", "BMP")):
        stream = io.BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (90, 100, 3), dtype=np.uint8)).save(stream, kind)
        payloads.append(stream.getvalue())
    return payloads


@pytest.fixture(scope="module")
def s(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A project whose registry has a champion."""
    settings = Settings(root=tmp_path_factory.mktemp("project"))
    client = registry.connect(settings)
    run_id = client.create_run(client.create_experiment(settings.experiment, settings.mlflow_artifacts)).info.run_id
    made = make_artefact(settings.artefact("small_cnn"), run_id)
    log_evaluation(made, settings, load_params(ROOT / "params.yaml"))
    registry.set_champion(registry.register(made, settings), settings)
    return settings


@pytest.fixture(scope="module")
def expected(s: Settings) -> np.ndarray:
    classifier = Classifier.load(s.artefact("small_cnn"))
    return np.array([classifier.observe(payload).probabilities for payload in pictures()])


@pytest.fixture
def model(s: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[mlflow.pyfunc.PyFuncModel]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(s.mlflow_uri)
    # The library's copy inside the model must not be what later tests import.
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield mlflow.pyfunc.load_model("models:/bloodyspy@champion")
    mlflow.set_tracking_uri(before)


def test_champion_answers_as_the_classifier_does(model: mlflow.pyfunc.PyFuncModel, expected: np.ndarray) -> None:
    answer = model.predict(pd.DataFrame({IMAGE: pictures()}))
    np.testing.assert_array_equal(answer[list(CELL_TYPES)].to_numpy(dtype=np.float32), expected.astype(np.float32))
    assert list(answer["predicted"]) == [str(CELL_TYPES[best]) for best in expected.argmax(axis=1)]
    np.testing.assert_array_equal(answer["confidence"], expected.max(axis=1))


def test_base64_text_answers_the_same(model: mlflow.pyfunc.PyFuncModel) -> None:
    text = [base64.b64encode(payload).decode() for payload in pictures()]
    pd.testing.assert_frame_equal(
        model.predict(pd.DataFrame({IMAGE: text})), model.predict(pd.DataFrame({IMAGE: pictures()}))
    )


def test_signature_and_input_example_are_kept(model: mlflow.pyfunc.PyFuncModel) -> None:
    assert str(model.metadata.signature.inputs.to_dict()[0]["type"]) == "binary"
    assert [column.name for column in model.metadata.signature.outputs] == [*CELL_TYPES, "predicted", "confidence"]
    example = model.input_example
    (answer,) = model.predict(example).itertuples(index=False)
    assert answer.predicted in CELL_TYPES
    with pytest.raises(MlflowException, match=IMAGE):
        model.predict(pd.DataFrame({"picture": pictures()}))


def test_the_loader_needs_no_package_that_the_model_does_not_name(s: Settings) -> None:
    script = (
        "import sys, bloodyspy.adapters.pyfunc as loader; loader._load_pyfunc(sys.argv[1])\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(s.artefact("small_cnn"))], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert {"onnxruntime", "cv2", "PIL", "pandas", "pydantic"} <= loaded
    assert not loaded & {"tensorflow", "keras", "mlflow", "bentoml", "dvc", "scipy", "matplotlib", "pydantic_settings"}
    assert not loaded & {"rich", "typer", "yaml", "sklearn", "onnx"}


def test_a_bad_picture_is_named_by_its_row(s: Settings) -> None:
    loaded = Pictures(Classifier.load(s.artefact("small_cnn")))
    with pytest.raises(UnreadableImage, match="row 1"):
        loaded.predict(pd.DataFrame({IMAGE: [pictures()[0], b"no picture"]}))
    with pytest.raises(UnreadableImage, match="row 0 is text, but not base64"):
        loaded.predict(pd.DataFrame({IMAGE: ["!!"]}))
    frame = pd.DataFrame({IMAGE: pictures()}, index=[7, 3, 5])
    assert list(loaded.predict(frame).index) == [7, 3, 5]
    assert loaded.predict(frame[:0]).shape == (0, len(CELL_TYPES) + 2)


@pytest.fixture(scope="module")
def server(s: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real ``mlflow models serve``, where neither the checkout nor its settings are."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/bloodyspy@champion"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            # mlflow starts uvicorn by its name
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": str(s.mlflow_uri),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            give_up = time.monotonic() + WAIT
            while not _answers(address):
                told = f"the server did not come up:\n{(folder / 'log').read_text()[-3000:]}"
                assert process.poll() is None, told
                assert time.monotonic() < give_up, told
                time.sleep(0.3)
            yield address
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole session: the command starts uvicorn, which starts its workers."""
    for signal in (15, 9):
        try:
            os.killpg(process.pid, signal)
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ping", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_served_champion_answers_base64_in_json(server: str, expected: np.ndarray) -> None:
    records = [{IMAGE: base64.b64encode(payload).decode()} for payload in pictures()]
    answer = httpx.post(f"{server}/invocations", json={"dataframe_records": records}, timeout=60)
    assert answer.status_code == 200, answer.text
    rows = answer.json()["predictions"]
    np.testing.assert_allclose([[row[cell] for cell in CELL_TYPES] for row in rows], expected, atol=1e-7)
    assert [row["predicted"] for row in rows] == [str(CELL_TYPES[best]) for best in expected.argmax(axis=1)]


def test_served_champion_goes_on_after_a_bad_picture(server: str, expected: np.ndarray) -> None:
    body = {"dataframe_records": [{IMAGE: base64.b64encode(b"no picture").decode()}]}
    refused = httpx.post(f"{server}/invocations", json=body, timeout=60)
    assert refused.status_code == 400, refused.text
    assert "row 0" in refused.text
    test_served_champion_answers_base64_in_json(server, expected)


def test_the_example_that_travels_with_the_model_is_served(server: str, s: Settings) -> None:
    place = registry.artefact_of(1, s).parents[1]
    example = json.loads((place / "serving_input_example.json").read_text())
    answer = httpx.post(f"{server}/invocations", json=example, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["predicted"] in CELL_TYPES
