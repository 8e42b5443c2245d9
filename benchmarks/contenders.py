"""The services that are measured: each in processes of its own, as many workers each, stopped with all it started."""

import base64
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow.pyfunc
import psutil

from benchmarks.load import Target
from benchmarks.server import started
from bloodyspy.adapters import packaging
from bloodyspy.adapters.pyfunc import IMAGE
from bloodyspy.serving.accounts import add_user
from bloodyspy.settings import Settings

OURS, BARE, MLFLOW, KERAS = "bloodyspy", "bare FastAPI", "mlflow models serve", "bare Keras"

_NAME, _PASSWORD = "bench", "correct horse battery"
_FORM = f"multipart/form-data; boundary={uuid.uuid4().hex}"
AUTHORIZATION = "Basic " + base64.b64encode(f"{_NAME}:{_PASSWORD}".encode()).decode()


@dataclass(frozen=True)
class Contender:
    """A service that answers."""

    name: str
    target: Target
    """One picture a request."""
    process: int
    ready_seconds: float
    """From its command until it was ready."""

    def resident_mb(self) -> float:
        """Memory of all its processes."""
        tree = [psutil.Process(self.process), *psutil.Process(self.process).children(recursive=True)]
        return sum(process.memory_info().rss for process in tree) / 1e6


@contextmanager
def bloodyspy(model: Path, pictures: Sequence[bytes], workers: int, scratch: Path) -> Iterator[Contender]:
    """This service, with sign-in, metrics, request ids and observation rows."""
    settings = Settings(root=scratch, users_file=scratch / "users.json")
    add_user(scratch / "users.json", _NAME, _PASSWORD)
    packaging.store(model, 1, settings)
    packaging.tell(1, settings)
    environment = {
        "BLOODYSPY_ROOT": str(scratch),
        "BLOODYSPY_STATE": str(settings.state),
        "BLOODYSPY_USERS_FILE": str(scratch / "users.json"),
        "BLOODYSPY_WORKERS": str(workers),
    }
    command = [
        "-m",
        "bentoml",
        "serve",
        "bloodyspy.serving.service:BloodySpy",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
    ]
    bodies = forms(pictures, scratch / "bodies", 1)
    with _serving(OURS, command, environment, "/v1/classify", _FORM, bodies, "/readyz", AUTHORIZATION) as contender:
        yield contender


@contextmanager
def bare(model: Path, pictures: Sequence[bytes], workers: int, scratch: Path, kind: str) -> Iterator[Contender]:
    """``graph`` or ``network`` of :mod:`benchmarks.bare_service`."""
    command = ["-m", "uvicorn", "--factory", f"benchmarks.bare_service:{kind}", "--workers", str(workers)]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--no-access-log", "--log-level", "warning"]
    environment = {"BLOODYSPY_BENCH_MODEL": str(model)}
    bodies = forms(pictures, scratch / "bodies", 1)
    name = BARE if kind == "graph" else KERAS
    with _serving(name, command, environment, "/classify", _FORM, bodies, "/docs") as contender:
        yield contender


@contextmanager
def mlflow_serve(model: Path, pictures: Sequence[bytes], workers: int, scratch: Path) -> Iterator[Contender]:
    """The artefact as MLflow serves it."""
    place, bodies = scratch / "pyfunc", scratch / "bodies"
    mlflow.pyfunc.save_model(
        place, loader_module="bloodyspy.adapters.pyfunc", data_path=str(model), pip_requirements=["numpy"]
    )
    bodies.mkdir()
    for number, payload in enumerate(pictures):
        split = {"columns": [IMAGE], "data": [[base64.b64encode(payload).decode()]]}
        (bodies / f"{number:04}").write_text(json.dumps({"dataframe_split": split}))
    command = ["-m", "mlflow", "models", "serve", "-m", str(place), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--workers", str(workers)]
    with _serving(MLFLOW, command, {}, "/invocations", "application/json", bodies, "/ping") as contender:
        yield contender


def forms(pictures: Sequence[bytes], folder: Path, each: int) -> Path:
    """Multipart bodies of so many pictures each."""
    folder.mkdir(parents=True)
    boundary = _FORM.partition("=")[2]
    for number in range(0, len(pictures), each):
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{i}.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n".encode()
            + picture
            + b"\r\n"
            for i, picture in enumerate(pictures[number : number + each])
        ]
        (folder / f"{number:04}").write_bytes(b"".join(parts) + f"--{boundary}--\r\n".encode())
    return folder


@contextmanager
def _serving(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    path: str,
    content_type: str,
    bodies: Path,
    ready: str,
    authorization: str | None = None,
) -> Iterator[Contender]:
    place = Path(__file__).resolve().parents[1]
    with started(name, command, environment, place, bodies.with_name("log"), ready) as (url, process, seconds):
        yield Contender(name, Target(url + path, content_type, bodies, authorization), process, seconds)
