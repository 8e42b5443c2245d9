"""No tool reports home: seen from outside the process, by the kernel's own account of its connections."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bloodyspy.telemetry import SWITCHES

BIN = Path(sys.executable).parent


USES = {
    "mlflow": """
import mlflow
mlflow.set_tracking_uri("sqlite:///m.db")
mlflow.set_experiment("x")
with mlflow.start_run():
    mlflow.log_metric("a", 1)
""",
    "dvc": "import subprocess; subprocess.run(['dvc', 'init', '--no-scm', '-q'], check=True)",
    "bentoml": """
import pathlib, bentoml
with bentoml.models.create("x") as model:
    pathlib.Path(model.path, "a").write_text("a")
""",
    "great_expectations": """
import great_expectations as gx, pandas as pd
context = gx.get_context(mode="ephemeral")
batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
result = batch.get_batch(batch_parameters={"dataframe": pd.DataFrame({"a": [1]})}).validate(
    gx.expectations.ExpectColumnToExist(column="a"))
assert result.success
""",
    "evidently": """
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
frame = pd.DataFrame({"a": [float(i) for i in range(50)]})
Report([DataDriftPreset()]).run(frame, frame).json()
""",
    "prefect": """
from prefect import flow
@flow
def nothing(): return 1
assert nothing() == 1
""",
    "onnxruntime": "import onnxruntime; onnxruntime.get_available_providers()",
    "openvino": """
import numpy, openvino, time
from openvino import opset8
picture = opset8.parameter([1], dtype=openvino.Type.f32)
model = openvino.Model([opset8.relu(picture)], [picture])
assert openvino.Core().compile_model(model, "CPU")([numpy.float32([-1])])[0] == 0
time.sleep(2)  # it would report from a thread of its own
""",
}


def outside_connections(trace: str) -> list[str]:
    connects = [line for line in trace.splitlines() if "connect(" in line and "AF_INET" in line]
    return [line for line in connects if not re.search(r'inet_addr\("127\.|"::1"|"::ffff:127\.', line)]


@pytest.fixture
def quiet_environment(tmp_path: Path) -> dict[str, str]:
    """As a user's shell would be: none of the switches set, but for what the environment's own start-up sets."""
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    # under strace the server of a first flow needs longer than the 20 s it is given
    environment.update(PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120")
    environment.update(HOME=str(tmp_path), PATH=f"{BIN}:{os.environ['PATH']}")
    for name in ("BENTOML_HOME", "PREFECT_HOME", "DVC_GLOBAL_CONFIG_DIR", "DVC_SITE_CACHE_DIR"):
        environment[name] = str(tmp_path / name.lower())
    return environment


@pytest.mark.parametrize("tool", USES)
def test_tool_connects_nowhere_outside(tool: str, tmp_path: Path, quiet_environment: dict[str, str]) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (apt-get install strace)")
    trace = tmp_path / "trace"
    done = subprocess.run(
        [strace, "-f", "-qq", "-e", "trace=connect,sendto", "-o", trace, sys.executable, "-c", USES[tool]],
        cwd=tmp_path,
        env=quiet_environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert outside_connections(trace.read_text()) == []


def test_the_trace_shows_connections_and_tells_outside_from_inside(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (apt-get install strace)")
    trace = tmp_path / "trace"
    code = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    subprocess.run([strace, "-f", "-qq", "-e", "trace=connect", "-o", trace, sys.executable, "-c", code], timeout=60)
    seen = trace.read_text()
    assert 'inet_addr("127.0.0.1")' in seen
    assert outside_connections(seen) == []
    assert len(outside_connections(seen.replace("127.0.0.1", "198.51.100.1"))) == 1


def test_switches_are_on_in_every_command_of_the_environment(quiet_environment: dict[str, str]) -> None:
    code = f"import os; print([name for name in {list(SWITCHES)!r} if name not in os.environ])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=quiet_environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]", "run `make install`: it writes the start-up line into the environment"
