"""What whoever operates the service sees: metrics of all workers, one line a request, traces, health."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
from handmade import make_artefact, make_forgetful
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from operated import Prepared, access_log, prepared, release, samples, total
from pictures import tinted
from running import NAME, Service, served, settles

from bloodyspy.cells import CELL_TYPES
from bloodyspy.serving.metrics import STATISTICS

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

KEY = "0123456789abcdef0123456789abcdef"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass
class Receiver:
    """An OTLP receiver over HTTP: what a collector would be sent."""

    spans: list[Span] = field(default_factory=list)
    url: str = ""

    def of(self, trace: str) -> dict[str, Span]:
        return {span.name: span for span in list(self.spans) if span.trace_id.hex() == trace}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    received.spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield received
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Prepared:
    place = tmp_path_factory.mktemp("operated")
    (place / "key").write_text(KEY)
    return prepared(
        place,
        BLOODYSPY_WORKERS="2",
        BLOODYSPY_PSEUDONYM_KEY_FILE=str(place / "key"),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_BSP_SCHEDULE_DELAY="200",
    )


@pytest.fixture(scope="module")
def service(ready: Prepared) -> Iterator[Service]:
    with served(ready.settings.root / "log", ready.environment) as running:
        yield running


def classify(service: Service, pictures: int, **headers: str) -> httpx.Response:
    """On a connection of its own, so that either worker may take it."""
    with service.client() as client:
        files = [("files", (f"Doe, Jane {i}.png", tinted(i))) for i in range(pictures)]
        return client.post("/v1/classify?name=Jane", files=files, headers=headers)


def test_workers_add_up(service: Service) -> None:
    before, known = total(service.url, "bloodyspy_pictures_total"), total(service.url, "bloodyspy_requests_total")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: classify(service, 3), range(12)))
    assert {answer.status_code for answer in answers} == {200}
    found = samples(service.url)
    assert sum(found["bloodyspy_pictures_total"].values()) == before + 36
    assert {dict(labels)["predicted"] for labels in found["bloodyspy_pictures_total"]} == {str(c) for c in CELL_TYPES}
    assert sum(found["bloodyspy_requests_total"].values()) == known + 12 + 1  # the first look at the metrics
    for name in STATISTICS:
        assert sum(found[f"bloodyspy_picture_{name}_count"].values()) == before + 36
    assert found["bloodyspy_requests_in_flight"][frozenset()] == 1  # this look
    assert found["bloodyspy_pictures_waiting"][frozenset()] == 0
    assert found["bloodyspy_workers"][frozenset()] == found["bloodyspy_workers_wanted"][frozenset()] == 2
    assert found["bloodyspy_workers_lost_total"][frozenset()] == 0
    (served_model,) = [dict(key) for key, value in found["bloodyspy_served_model_info"].items() if value]
    assert (served_model["version"], served_model["role"], served_model["run_id"]) == ("1", "release", "0" * 32)


def test_numpy_has_one_thread_in_each_worker(service: Service) -> None:
    children = psutil.Process(service.process).children(recursive=True)
    workers = [child for child in children if "_bentoml_impl.worker.service" in child.cmdline()]
    assert [worker.environ().get("OPENBLAS_NUM_THREADS") for worker in workers] == ["1", "1"]


def test_nobody_can_make_up_labels(service: Service) -> None:
    with httpx.Client(base_url=service.url, trust_env=False) as stranger:
        for number in range(5):
            assert stranger.get(f"/no/such/place/{number}").status_code == 404
            wrong = stranger.request("PROPFIND", "/v1/classify")
            assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")
            assert wrong.json()["detail"] == "This address does not take PROPFIND. Try POST."
    found = [dict(labels) for labels in samples(service.url)["bloodyspy_requests_total"]]
    assert {labels["route"] for labels in found} <= {"other", "/v1/classify", "/metrics", "/readyz", "/livez"}
    assert {labels["method"] for labels in found} <= {"GET", "POST", "other"}
    assert total(service.url, "bloodyspy_requests_total", route="other", status="404") == 5


def test_refused_credentials_and_pictures_are_counted(service: Service) -> None:
    before = total(service.url, "bloodyspy_sign_ins_failed_total")
    with service.client(NAME, "a wrong password") as client:
        assert client.get("/v1/model").status_code == 401
    with httpx.Client(base_url=service.url, trust_env=False) as stranger:
        assert stranger.get("/v1/model").status_code == 401  # who tries no password fails at none
    with service.client() as client:
        assert client.post("/v1/classify", files={"file": ("a", b"no picture")}).status_code == 422
    assert total(service.url, "bloodyspy_sign_ins_failed_total") == before + 1
    assert total(service.url, "bloodyspy_pictures_refused_total", error="UnreadableImage") == 1


def test_prometheus_own_linter_finds_nothing(service: Service) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is absent: apt-get install prometheus")
    text = httpx.get(f"{service.url}/metrics", trust_env=False).text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_one_line_a_request_and_nothing_personal(service: Service) -> None:
    answer = classify(service, 2, **{"X-Request-ID": "line-0001", "traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert settles(lambda: any(line["request_id"] == "line-0001" for line in access_log(service)))
    (line,) = [line for line in access_log(service) if line["request_id"] == "line-0001"]
    assert tuple(line) == (
        *("time", "request_id", "method", "route", "status", "milliseconds", "received_bytes", "sent_bytes"),
        *("files", "user", "model_version", "trace_id"),
    )
    assert (line["method"], line["route"], line["status"], line["files"]) == ("POST", "/v1/classify", 200, 2)
    assert (line["model_version"], line["trace_id"]) == (1, TRACE)
    assert line["sent_bytes"] == len(answer.content)
    assert int(str(line["received_bytes"])) > len(tinted(0)) + len(tinted(1))
    assert str(line["time"]).endswith("+00:00")
    text = service.log.read_text()
    for secret in ("Jane", NAME, KEY, "POST /v1", "GET /"):  # the last two: access logs of BentoML and uvicorn
        assert secret not in text
    users = {line["user"] for line in access_log(service) if line["status"] == 200}
    assert len(users - {None}) == 1  # two workers, one key


def test_a_trace_from_the_client_to_the_row(service: Service, receiver: Receiver) -> None:
    trace = TRACE[::-1]
    assert classify(service, 1, traceparent=f"00-{trace}-{PARENT}-01").status_code == 200
    assert settles(lambda: "POST /v1/classify" in receiver.of(trace))
    spans = receiver.of(trace)
    assert set(spans) == {"POST /v1/classify", "read upload", "decode, describe, graph", "observation rows"}
    request = spans.pop("POST /v1/classify")
    assert request.parent_span_id.hex() == PARENT
    assert {span.parent_span_id for span in spans.values()} == {request.span_id}
    attributes = {pair.key: pair.value for pair in request.attributes}
    assert attributes["http.route"].string_value == "/v1/classify"
    assert attributes["http.response.status_code"].int_value == 200
    assert not [key for key in attributes if "url" in key or "target" in key or "client" in key]


def test_what_the_client_does_not_want_traced_is_not(service: Service, receiver: Receiver) -> None:
    unsampled, sampled = "1" * 32, "2" * 32
    classify(service, 1, traceparent=f"00-{unsampled}-{PARENT}-00")
    classify(service, 1, traceparent=f"00-{sampled}-{PARENT}-01")
    assert settles(lambda: bool(receiver.of(sampled)))
    assert receiver.of(unsampled) == {}


def test_health_says_what_is_missing(tmp_path: Path) -> None:
    ready = prepared(tmp_path, make_forgetful(tmp_path / "forgetful"))
    assert ready.settings.users_file is not None
    with served(tmp_path / "log", ready.environment, wait_for="/livez") as service:

        def refusal() -> str:
            answer = httpx.get(f"{service.url}/readyz", trust_env=False)
            return "" if answer.status_code == 200 else answer.text

        assert "answers otherwise here" in refusal()
        assert total(service.url, "bloodyspy_golden_mismatches_total", role="release") == 1
        assert total(service.url, "bloodyspy_release_refused", role="release") == 1
        assert httpx.get(f"{service.url}/healthz", trust_env=False).status_code == 200
        release(ready.settings, make_artefact(tmp_path / "sound"), 2)
        assert settles(lambda: refusal() == "")
        assert total(service.url, "bloodyspy_release_refused", role="release") == 0
        users = ready.settings.users_file.read_bytes()
        ready.settings.users_file.write_bytes(b"{")
        assert "users file" in refusal()
        ready.settings.users_file.write_bytes(users)
        assert refusal() == ""
        assert "bloodyspy" in service.log.read_text()
    assert "Traceback" not in service.log.read_text()
