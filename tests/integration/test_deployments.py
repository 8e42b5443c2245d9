"""The deployments on a real Prefect server with a real process worker; the clock really fires.

These hold two caps of pyproject.toml: with another fastapi `prefect deploy` answers 422, with another sqlalchemy the
server is healthy and its scheduler never makes a run.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import coloured
import httpx
import pytest
import yaml

from bloodyspy.adapters import registry
from bloodyspy.promotion import trail
from bloodyspy.promotion.events import Approved
from bloodyspy.settings import Settings

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),  # BentoML's use of pathspec
]


@dataclass(frozen=True)
class Server:
    """A Prefect server that answers, and the project that is deployed to it."""

    api: str
    folder: Path
    environment: Mapping[str, str]

    def prefect(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, f"prefect {' '.join(arguments)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def post(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.api}{path}", json=body, timeout=60, trust_env=False)
        assert answer.is_success, answer.text
        return answer.json()

    def emit(self, event: str) -> None:
        told = {
            "occurred": datetime.now(UTC).isoformat(),
            "event": event,
            "resource": {"prefect.resource.id": "bloodyspy.model.bloodyspy"},
            "payload": {"cause": "stain"},
            "id": str(uuid4()),
        }
        assert httpx.post(f"{self.api}/events", json=[told], timeout=60, trust_env=False).is_success

    def deployments(self, name: str) -> dict[str, dict[str, Any]]:
        """Those of that name, by the name of the flow."""
        flows = {flow["id"]: flow["name"] for flow in self.post("/flows/filter")}
        found = self.post("/deployments/filter", deployments={"name": {"any_": [name]}})
        return {flows[entry["flow_id"]]: entry for entry in found}

    def runs(self, deployment: str, *states: str) -> list[dict[str, Any]]:
        wanted = {"state": {"type": {"any_": list(states)}}}
        return list(self.post("/flow_runs/filter", deployments={"id": {"any_": [deployment]}}, flow_runs=wanted))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server alone; its data base is its own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "BLOODYSPY_"))}
    environment = {
        **kept,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PREFECT_HOME": str(folder),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(command, folder, environment, folder / "server.log"):
        wait_until(lambda: healthy(api), 120, folder / "server.log")
        yield Server(api, folder, environment)


@pytest.fixture
def deployed(server: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A project with a champion whose drift check is due each minute."""
    coloured.lay_out(settings)
    place = settings.root / "params.yaml"
    content = yaml.safe_load(place.read_text())
    content["schedules"] |= {"check_drift": "* * * * *", "upkeep": "off", "watch": False}
    place.write_text(yaml.safe_dump(content))
    registry.set_champion(registry.register(coloured.candidate(settings, "middling"), settings), settings)
    assert settings.observations is not None
    settings.observations.mkdir(parents=True)
    shutil.copy(ROOT / "prefect.yaml", settings.root)
    shutil.copytree(ROOT / "pipelines", settings.root / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**server.environment, "BLOODYSPY_ROOT": str(settings.root), "PWD": str(settings.root)}
    return Server(server.api, settings.root, environment)


def test_every_flow_is_deployed_and_a_worker_runs_what_the_clock_makes(deployed: Server, settings: Settings) -> None:
    deployed.prefect("work-pool", "create", "bloodyspy", "--type", "process")
    deployed.prefect("--no-prompt", "deploy", "--all")
    found = deployed.deployments("bloodyspy")
    crons = {
        flow: [entry["schedule"]["cron"] for entry in it["schedules"] if entry["active"]] for flow, it in found.items()
    }
    assert crons == {
        "version-data": [],
        "train": [],
        "promote": [],
        "rollback": [],
        "check-drift": ["* * * * *"],
        "queue": ["30 * * * *"],
        "take-labels": [],
        "lifecycle": [],
        "upkeep": [],
        "retrain": ["0 3 * * *"],
        "watch": [],
    }
    limited = {flow for flow, it in found.items() if (it["global_concurrency_limit"] or {}).get("limit") == 1}
    assert limited == {"check-drift", "queue", "upkeep", "retrain", "watch"}
    assert found["retrain"]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"

    log = deployed.folder / "worker.log"
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "bloodyspy"]
    with running(worker, deployed.folder, deployed.environment, log):
        # by the clock
        drift = found["check-drift"]["id"]
        wait_until(lambda: bool(deployed.runs(drift, "COMPLETED", "FAILED", "CRASHED")), 400, log)
        run = deployed.runs(drift, "COMPLETED", "FAILED", "CRASHED")[0]
        assert run["state_type"] == "COMPLETED", log.read_text()[-4000:]
        assert run["auto_scheduled"]
        # on drift: an automation starts the loop, which finds that there are no images
        deployed.emit("bloodyspy.drift")
        loop = found["retrain"]["id"]
        wait_until(lambda: bool(deployed.runs(loop, "COMPLETED", "FAILED", "CRASHED")), 400, log)
        assert deployed.runs(loop, "COMPLETED"), log.read_text()[-4000:]
        # on request
        asked = found["promote"]["id"]
        deployed.prefect("deployment", "run", "promote/bloodyspy")
        wait_until(lambda: bool(deployed.runs(asked, "COMPLETED", "FAILED", "CRASHED")), 400, log)
        assert deployed.runs(asked, "COMPLETED"), log.read_text()[-4000:]
        # a person is waited for, and answers as Prefect's UI does
        place = settings.root / "params.yaml"
        place.write_text(place.read_text().replace("approval: automatic", "approval: required"))
        coloured.candidate(settings, "good")
        deployed.prefect("deployment", "run", "promote/bloodyspy")
        wait_until(lambda: bool(deployed.runs(asked, "PAUSED")), 400, log)
        (paused,) = deployed.runs(asked, "PAUSED")
        assert registry.champion(settings).number == 1
        refused = deployed.post(f"/flow_runs/{paused['id']}/resume", run_input={"approver": "", "reason": ""})
        assert refused["status"] == "REJECT"
        given = {"approver": "Dr. Rot", "reason": "seen the card"}
        assert deployed.post(f"/flow_runs/{paused['id']}/resume", run_input=given)["status"] == "ACCEPT"
        wait_until(lambda: len(deployed.runs(asked, "COMPLETED", "FAILED", "CRASHED")) == 2, 400, log)
        assert len(deployed.runs(asked, "COMPLETED")) == 2, log.read_text()[-4000:]
        assert registry.champion(settings).number == 2
        (answer,) = [e.event for e in trail.entries(settings) if isinstance(e.event, Approved)]
        assert (answer.approver, answer.reason, answer.approved, answer.version) == (*given.values(), True, 2)

    keys = {entry["key"] for entry in deployed.post("/artifacts/latest/filter")}
    assert {"drift", "drift-verdict", "drift-report", "decision"} <= keys
    assert list((deployed.folder / "var" / "drift").iterdir())
    assert (deployed.folder / "var" / "release.json").is_file()


def test_the_schedules_are_served_from_one_process(deployed: Server) -> None:
    log = deployed.folder / "serve.log"
    command = [sys.executable, "-m", "pipelines.deployments"]
    with running(command, deployed.folder, deployed.environment, log):
        wait_until(lambda: len(deployed.deployments("served")) == 11, 120, log)
        drift = deployed.deployments("served")["check-drift"]["id"]
        wait_until(lambda: bool(deployed.runs(drift, "COMPLETED", "FAILED", "CRASHED")), 400, log)
        (run, *_) = deployed.runs(drift, "COMPLETED", "FAILED", "CRASHED")
        assert run["state_type"] == "COMPLETED", log.read_text()[-4000:]
        assert run["auto_scheduled"]
        deployed.emit("bloodyspy.drift")
        loop = deployed.deployments("served")["retrain"]["id"]
        wait_until(lambda: bool(deployed.runs(loop, "PENDING", "RUNNING", "COMPLETED")), 120, log)


def test_without_a_server_nobody_would_keep_the_time(settings: Settings) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.deployments"], cwd=settings.root, env=kept, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "PREFECT_API_URL is not set" in done.stderr


@contextmanager
def running(command: list[str], folder: Path, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """A process for the length of the block, stopped with everything it started."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # a worker started by a script does not heed the first signal
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)


def healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain:\n{log.read_text()[-4000:]}"
        time.sleep(0.5)
