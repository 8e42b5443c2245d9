"""The shadow: it answers what the champion answers, and whatever is wrong with it, no answer is."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from handmade import make_artefact, make_forgetful, write_golden
from onnx import TensorProto, helper, numpy_helper
from pictures import tinted
from PIL import Image
from prometheus_client import REGISTRY
from running import NAME, PASSWORD, Service, served

from bloodyspy.adapters import packaging
from bloodyspy.model import artifact
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.release import Release, write_release
from bloodyspy.promotion.replay import replay_logged
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.serving.served import ServedModel, wanted_shadow
from bloodyspy.serving.shadow import NICENESS, Shadow
from bloodyspy.settings import Settings

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

RUNS = {1: "1" * 32, 2: "2" * 32, 3: "3" * 32, 5: "5" * 32}


class Registered:
    """A version as far as its number and its run."""

    def __init__(self, number: int) -> None:
        self.number, self.run_id = number, RUNS[number]


def tell(s: Settings, made: Artefact, version: int) -> None:
    facts = {"run_id": made.spec.run_id, "digest": made.digest, "path": str(made.path)}
    write_release(s.shadow, Release(version=version, model=f"bloodyspy:v{version}", **facts))


def altered(made: Artefact, nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto]) -> Artefact:
    """The artefact with nodes that make ``burden`` out of ``images``; it is added to the logits."""
    model = onnx.load(made.path / artifact.GRAPH)
    *first, softmax = model.graph.node
    added = helper.make_node("Add", ["logits", "burden"], ["burdened"])
    softmax.input[0] = "burdened"
    del model.graph.node[:]
    model.graph.node.extend([*first, *nodes, added, softmax])
    model.graph.initializer.extend(tensors)
    onnx.save(model, made.path / artifact.GRAPH)
    write_golden(made.path, made.spec)
    return artifact.seal(made.path)


def slow(place: Path) -> Artefact:
    """A model that multiplies matrices for a tenth of a second and more before it says anything."""
    matrix = np.full((1000, 1000), 1e-3, dtype=np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["values"], ["light"], keepdims=0),
        helper.make_node("Mul", ["matrix", "light"], ["product0"]),  # of the picture, or it would be done in advance
        *(helper.make_node("MatMul", [f"product{i}", "matrix"], [f"product{i + 1}"]) for i in range(6)),
        helper.make_node("ReduceMean", ["product6"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["burden"]),
    ]
    nothing = numpy_helper.from_array(np.zeros((), dtype=np.float32), "nothing")
    return altered(make_artefact(place, RUNS[3], seed=3), nodes, [numpy_helper.from_array(matrix, "matrix"), nothing])


def choosy(place: Path) -> Artefact:
    """A model that can be loaded, answers its golden pictures, and fails on pictures that are nearly black."""
    nodes = [
        helper.make_node("ReduceMax", ["values"], ["brightest"], keepdims=0),
        helper.make_node("Sub", ["light", "brightest"], ["missing"]),
        helper.make_node("Cast", ["missing"], ["row"], to=TensorProto.INT64),
        helper.make_node("Gather", ["rows", "row"], ["burden"], axis=0),  # counts from the end where negative
    ]
    rows = numpy_helper.from_array(np.zeros((160, 8), dtype=np.float32), "rows")
    light = numpy_helper.from_array(np.array(200, dtype=np.float32), "light")
    return altered(make_artefact(place, RUNS[5], seed=5), nodes, [rows, light])


def encoded(pixels: np.ndarray, image_format: str) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, image_format)
    return stream.getvalue()


DARK = encoded(np.full((72, 72, 3), 20), "PNG")


def logged(folder: Path) -> list[dict[str, object]]:
    lines = [line for path in folder.glob("*/*.jsonl") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def becomes(true: Callable[[], bool], seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.05)
    return False


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"bloodyspy_shadow_{name}_total") or 0.0


@contextmanager
def shadowing(s: Settings, waiting: int = 10**6) -> Iterator[tuple[Shadow, ServedModel]]:
    model = ServedModel("shadow", lambda: wanted_shadow(s), s.root, threads=1)
    shadow = Shadow(model, ObservationLog(s.shadow_observations), waiting)
    shadow.start()
    try:
        yield shadow, model
    finally:
        shadow.stop()


@pytest.fixture
def s(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path)


def test_what_is_offered_is_answered_and_logged_as_the_service_does(s: Settings, tmp_path: Path) -> None:
    made = make_artefact(tmp_path / "made", RUNS[2], seed=2)
    tell(s, made, 2)
    with shadowing(s) as (shadow, model):
        assert becomes(lambda: model.ready)
        for i in range(6):
            shadow.offer(tinted(i), f"request-{i // 3}", i % 3)
        assert becomes(lambda: len(logged(s.shadow_observations)) == 6)
    classifier = Classifier(made)
    for i, row in enumerate(logged(s.shadow_observations)):
        assert (row["request_id"], row["picture"], row["model_version"]) == (f"request-{i // 3}", i % 3, 2)
        expected = classifier.observe(tinted(i)).row()
        assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_it_computes_with_the_least_priority_and_nobody_else_does(s: Settings, tmp_path: Path) -> None:
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with shadowing(s):
        *_, thread = (one for one in threading.enumerate() if one.name == "shadow")
        assert thread.native_id is not None
        assert becomes(lambda: os.getpriority(os.PRIO_PROCESS, thread.native_id) == NICENESS)
        assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
    thread.join(10)


def test_without_a_shadow_nothing_is_taken_and_nothing_is_wrong(s: Settings) -> None:
    before = counted("dropped"), counted("failed")
    with shadowing(s) as (shadow, model):
        time.sleep(0.3)
        assert not model.ready
        shadow.offer(tinted(1), "request-1", 0)
    assert (counted("dropped"), counted("failed")) == before
    assert not s.shadow_observations.exists()


def test_what_has_no_room_is_dropped_and_counted_and_room_comes_back(s: Settings, tmp_path: Path) -> None:
    tell(s, slow(tmp_path / "slow"), 3)
    picture = tinted(1)
    before = counted("dropped")
    with shadowing(s, waiting=2 * len(picture)) as (shadow, model):
        assert becomes(lambda: model.ready)
        for i in range(5):
            shadow.offer(picture, f"request-{i}", 0)
        shadow.offer(b"", "request-none", 0)  # takes no room, and is no picture
        assert counted("dropped") == before + 3
        assert becomes(lambda: len(logged(s.shadow_observations)) == 2)
        assert becomes(lambda: shadow.room == 2 * len(picture))
        shadow.offer(picture, "request-after", 0)
        assert becomes(lambda: len(logged(s.shadow_observations)) == 3)
    assert counted("dropped") == before + 3
    ids = [row["request_id"] for row in logged(s.shadow_observations)]
    assert ids == ["request-0", "request-1", "request-after"]


def test_a_shadow_that_raises_is_counted_and_said_once_and_asked_again(
    s: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tell(s, choosy(tmp_path / "choosy"), 5)
    before = counted("failed")
    with shadowing(s) as (shadow, model):
        assert becomes(lambda: model.ready)
        for i, picture in enumerate((DARK, DARK, tinted(1))):
            shadow.offer(picture, f"request-{i}", 0)
        assert becomes(lambda: len(logged(s.shadow_observations)) == 1)
    assert logged(s.shadow_observations)[0]["request_id"] == "request-2"
    assert counted("failed") == before + 2
    assert caplog.text.count("The shadow failed") == 1


def test_a_shadow_that_cannot_be_loaded_is_counted_and_one_that_is_withdrawn_is_let_go(
    s: Settings, tmp_path: Path
) -> None:
    made = make_artefact(tmp_path / "made", RUNS[2], seed=2)
    tell(s, made, 2)
    before = counted("failed")
    with shadowing(s) as (shadow, model):
        assert becomes(lambda: model.ready)
        s.shadow.unlink()
        assert becomes(lambda: not model.ready)
        assert counted("failed") == before
        s.shadow.write_bytes(b"{")
        assert becomes(lambda: counted("failed") > before)
        shadow.offer(tinted(1), "request-1", 0)
        tell(s, made, 2)
        assert becomes(lambda: model.ready)
        shadow.offer(tinted(1), "request-2", 0)
        assert becomes(lambda: len(logged(s.shadow_observations)) == 1)
    assert [row["request_id"] for row in logged(s.shadow_observations)] == ["request-2"]


# ---- the real service


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("project")
    settings = Settings(root=root, users_file=root / "users.json")
    add_user(root / "users.json", NAME, PASSWORD)
    packaging.store(make_artefact(root / "champion", RUNS[1], seed=1).path, 1, settings)
    packaging.tell(1, settings)
    return settings


@pytest.fixture(scope="module")
def champion(project: Settings) -> Classifier:
    return Classifier.load(project.root / "champion")


@pytest.fixture(scope="module")
def service(project: Settings) -> Iterator[Service]:
    environment = {
        "BLOODYSPY_ROOT": str(project.root),
        "BLOODYSPY_USERS_FILE": str(project.users_file),
        "BENTOML_HOME": str(project.root / "home"),
    }
    with served(project.root / "service.log", environment) as running:
        yield running


@pytest.fixture
def client(service: Service, project: Settings) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client
    project.shadow.unlink(missing_ok=True)
    assert becomes(lambda: takes_nothing(service, project))
    shutil.rmtree(project.shadow_observations, ignore_errors=True)


def ask(client: httpx.Client, payloads: list[bytes], request_id: str) -> list[list[float]]:
    files = [("files", (f"{i}.png", payload)) for i, payload in enumerate(payloads)]
    answer = client.post("/v1/classify", files=files, headers={"X-Request-ID": request_id})
    assert answer.status_code == 200
    assert answer.json()["model_version"] == 1
    return [list(result["probabilities"].values()) for result in answer.json()["results"]]


def metric(service: Service, name: str) -> float:
    text = httpx.get(service.url + "/metrics", timeout=60, trust_env=False).text
    (line,) = (line for line in text.splitlines() if line.startswith(f"bloodyspy_shadow_{name}_total"))
    return float(line.split()[-1])


def takes(service: Service, project: Settings) -> bool:
    """Whether there is a shadow that answers: a picture of no other request gets its row."""
    before = len(logged(project.shadow_observations))
    with service.client() as client:
        ask(client, [tinted(0)], f"probe-{time.monotonic_ns()}")
    return becomes(lambda: len(logged(project.shadow_observations)) > before, seconds=2)


def takes_nothing(service: Service, project: Settings) -> bool:
    return not takes(service, project)


def test_a_shadow_s_rows_stand_beside_the_champion_s(
    client: httpx.Client, service: Service, project: Settings, champion: Classifier
) -> None:
    made = make_artefact(project.root / "challenger", RUNS[2], seed=4)  # agrees about half of the colours
    challenger = Classifier(made)
    tell(project, made, 2)
    assert becomes(lambda: takes(service, project))
    payloads = [tinted(seed) for seed in range(60)]
    for start in range(0, 60, 12):
        answers = ask(client, payloads[start : start + 12], f"smear-{start}")
        expected = [champion.observe(payload).probabilities for payload in payloads[start : start + 12]]
        np.testing.assert_allclose(answers, expected, atol=1e-6)
    ids = {f"smear-{start}" for start in range(0, 60, 12)}

    def rows() -> list[dict[str, object]]:
        return [row for row in logged(project.shadow_observations) if row["request_id"] in ids]

    assert becomes(lambda: len(rows()) == 60)
    for row in rows():
        place = int(str(row["request_id"]).removeprefix("smear-")) + int(str(row["picture"]))
        assert (row["model_version"], row["run_id"]) == (2, RUNS[2])
        expected = challenger.observe(payloads[place]).row()
        assert row["p_ig"] == pytest.approx(expected["p_ig"], abs=1e-6)
        assert row["predicted"] == expected["predicted"]
    found = replay_logged(Registered(1), Registered(2), project, rows=1000)
    assert found.pairs >= 60
    assert found.ambiguous == 0
    assert found.agreeing.low > 0.3
    same = [champion.observe(one).predicted == challenger.observe(one).predicted for one in payloads]
    assert found.agreeing.value == pytest.approx(np.mean(same), abs=0.1)  # the probes are counted too
    assert metric(service, "dropped") == 0


def test_a_slow_shadow_drops_rows_and_no_answer_is_late_or_wrong(
    client: httpx.Client, service: Service, project: Settings, champion: Classifier
) -> None:
    made = slow(project.root / "slow")
    patient = Classifier(made)
    tell(project, made, 3)
    assert becomes(lambda: takes(service, project))
    rng = np.random.default_rng(0)
    payloads = [encoded(rng.integers(0, 256, (600, 600, 3)), "BMP") for _ in range(5)]  # a megabyte, quickly read
    expected = [champion.observe(payload).probabilities for payload in payloads]
    sent = 0
    while not metric(service, "dropped"):
        np.testing.assert_allclose(ask(client, payloads, f"flood-{sent:04}"), expected, atol=1e-6)
        sent += len(payloads)
        assert sent < 500, "the shadow is quicker than the requests"
    waits, works = [], []
    for i in range(15):
        started = time.perf_counter()
        (answer,) = ask(client, [tinted(i)], f"late-{i:04}")
        waits.append(time.perf_counter() - started)
        np.testing.assert_allclose(answer, champion.observe(tinted(i)).probabilities, atol=1e-6)
        started = time.perf_counter()
        patient.observe(tinted(i))
        works.append(time.perf_counter() - started)
    # all the while the shadow has a picture in work and more waiting: whoever waited for it would wait longer than this
    assert np.median(waits) < np.median(works)
    assert metric(service, "dropped") > 0
    rows = [row for row in logged(project.observations or Path()) if str(row["request_id"]).startswith(("fl", "la"))]
    assert len(rows) == sent + 15
    assert {row["model_version"] for row in rows} == {1}


def test_a_broken_shadow_changes_nothing(
    client: httpx.Client, service: Service, project: Settings, champion: Classifier
) -> None:
    def right() -> None:
        payloads = [tinted(seed) for seed in range(8)]
        expected = [champion.observe(payload).probabilities for payload in payloads]
        np.testing.assert_allclose(ask(client, payloads, "broken-0001"), expected, atol=1e-6)

    def fails_more() -> bool:
        before = metric(service, "failed")
        return becomes(lambda: metric(service, "failed") > before, seconds=30)

    project.shadow.write_bytes(b"{")
    assert fails_more()
    right()
    tell(project, make_forgetful(project.root / "forgetful"), 4)
    assert fails_more()
    right()
    made = make_artefact(project.root / "damaged", RUNS[2])
    (made.path / artifact.GRAPH).write_bytes(b"no graph")
    tell(project, made, 2)
    assert fails_more()
    right()
    assert httpx.get(service.url + "/readyz", timeout=60, trust_env=False).status_code == 200
    tell(project, choosy(project.root / "choosy"), 5)
    assert becomes(lambda: takes(service, project))
    before = metric(service, "failed")
    np.testing.assert_allclose(ask(client, [DARK], "dark-0001"), [champion.observe(DARK).probabilities], atol=1e-6)
    assert becomes(lambda: metric(service, "failed") == before + 1, seconds=30)
    right()
