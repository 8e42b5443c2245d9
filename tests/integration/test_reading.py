"""Many requests at once through the application: each its own answers in its order, its rows in one piece, or a 429."""

import gc
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn
from handmade import make_artefact
from pictures import tinted
from running import NAME, PASSWORD, served

from bloodyspy.adapters import packaging
from bloodyspy.cells import CellType
from bloodyspy.images.synthetic import draw_picture
from bloodyspy.model.classifier import Classifier
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.application import create_application
from bloodyspy.serving.house import PICTURES
from bloodyspy.serving.uploads import MAX_FILES
from bloodyspy.settings import Settings

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("project")
    settings = Settings(root=place, users_file=place / "users.json")
    add_user(place / "users.json", NAME, PASSWORD)
    packaging.store(make_artefact(place / "artefact").path, 1, settings)
    packaging.tell(1, settings)
    return place


@pytest.fixture(scope="module")
def classifier(place: Path) -> Classifier:
    return Classifier.load(place / "artefact")


@pytest.fixture
def client(place: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """Of the application alone, in this process; two requests may wait."""
    home = place / "var" / "bentoml"
    settings = Settings(
        root=place, users_file=place / "users.json", bentoml_home=home, observations=tmp_path, requests=2
    )
    # an idle connection of a client that is held up for five seconds would be closed under its next request
    config = uvicorn.Config(create_application(settings), port=0, log_config=None, timeout_keep_alive=60)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", auth=(NAME, PASSWORD), timeout=60, trust_env=False
    ) as client:
        yield client
    server.should_exit = True
    thread.join()


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in folder.glob("*/*.jsonl") for line in path.read_text().splitlines()]


def test_a_bad_picture_among_many_has_its_error_in_its_place(
    client: httpx.Client, classifier: Classifier, tmp_path: Path
) -> None:
    payloads = [tinted(i % 8) if i % 5 else b"no picture" for i in range(37)]
    files = [("files", (f"{i}.png", payload)) for i, payload in enumerate(payloads)]
    results = client.post("/v1/classify", files=files).raise_for_status().json()["results"]
    assert [result["filename"] for result in results] == [f"{i}.png" for i in range(37)]
    for i, (result, payload) in enumerate(zip(results, payloads, strict=True)):
        if i % 5:
            expected = classifier.observe(payload)
            assert tuple(result["probabilities"].values()) == pytest.approx(expected.probabilities, abs=1e-6)
            assert result["statistics"]["red"] == expected.statistics.red
        else:
            assert "picture" in result["error"]
    assert [row["picture"] for row in rows(tmp_path)] == [i for i in range(37) if i % 5]


def test_no_answer_stands_behind_explanations(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go_on, explain = threading.Event(), threading.Event(), Classifier.explain

    def slow(self: Classifier, payload: bytes) -> object:
        asked.set()
        assert go_on.wait(60)
        return explain(self, payload)

    monkeypatch.setattr(Classifier, "explain", slow)
    files = [("files", (f"{i}.png", tinted(i % 8))) for i in range(16)]
    with ThreadPoolExecutor(1) as pool:
        explanations = pool.submit(client.post, "/v1/explain", files=files)
        try:
            assert asked.wait(60)
            assert client.post("/v1/classify", files=files[:1], timeout=30).status_code == 200
            assert not explanations.done()
        finally:
            go_on.set()
        assert len(explanations.result().raise_for_status().json()["results"]) == 16


def test_whoever_is_let_in_is_answered_and_logged_in_one_piece_and_the_others_come_again(
    client: httpx.Client, tmp_path: Path
) -> None:
    files = [("files", (f"{i}.png", tinted(i % 8))) for i in range(60)]

    def ask(number: int) -> httpx.Response:
        return client.post("/v1/classify", files=files, headers={"X-Request-ID": f"request-{number:04}"})

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(36)))
    accepted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(accepted) + len(refused) == 36
    assert accepted
    assert refused
    for answer in accepted:
        assert [result["filename"] for result in answer.json()["results"]] == [f"{i}.png" for i in range(60)]
    for answer in refused:
        assert int(answer.headers["Retry-After"]) >= 1
        assert "Send the request again" in answer.json()["detail"]
        assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
    logged = [(row["request_id"], row["picture"]) for row in rows(tmp_path)]
    assert sorted({name for name, _ in logged}) == sorted(answer.json()["request_id"] for answer in accepted)
    for start in range(0, len(logged), 60):  # a request's rows follow each other
        assert logged[start : start + 60] == [(logged[start][0], i) for i in range(60)]
    assert client.post("/v1/classify", files=files[:1]).status_code == 200


def test_the_largest_request_is_always_let_into_an_empty_house(client: httpx.Client) -> None:
    assert MAX_FILES <= PICTURES
    files = [("files", (f"{i}.png", tinted(i % 8))) for i in range(MAX_FILES)]
    assert len(client.post("/v1/classify", files=files).json()["results"]) == MAX_FILES


@pytest.mark.usefixtures("client")
def test_the_collector_passes_over_what_was_there_before_the_first_request() -> None:
    assert gc.get_freeze_count() > 10 * len(gc.get_objects())


def test_a_service_that_is_told_to_stop_finishes_what_it_took_in(place: Path, tmp_path: Path) -> None:
    environment = {
        "BLOODYSPY_ROOT": str(place),
        "BLOODYSPY_STATE": str(place / "var"),
        "BLOODYSPY_USERS_FILE": str(place / "users.json"),
        "BLOODYSPY_OBSERVATIONS": str(tmp_path / "log"),
    }
    picture = draw_picture(CellType.BASOPHIL, 0, 0)[1]
    files = [("files", (f"{i}.jpg", picture)) for i in range(128)]
    with (
        served(tmp_path / "service.log", environment) as service,
        service.client() as large,
        service.client() as small,
        ThreadPoolExecutor(1) as pool,
    ):
        large.get("/bloodyspy/authorization").raise_for_status()
        request = large.build_request("POST", "/v1/classify", files=files)
        request.read()
        answer = pool.submit(large.send, request)
        while not rows(tmp_path / "log"):  # by then the service has long begun with the other's body
            small.post("/v1/classify", files=files[:1]).raise_for_status()
        os.kill(service.process, signal.SIGTERM)
        results = answer.result().raise_for_status().json()["results"]
    assert [result["filename"] for result in results] == [f"{i}.jpg" for i in range(128)]
    assert len(rows(tmp_path / "log")) >= 129
