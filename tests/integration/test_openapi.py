"""Requests that the OpenAPI document allows, and some that it does not, by schemathesis at a real service.

BLOODYSPY_TEST_EXAMPLES for each end-point, 10 unless told. No check is left out.
"""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from operated import prepared, samples
from pictures import tinted
from running import PASSWORD, Service, served
from valid_requests import QUEUED

from bloodyspy.kept import Kept, store_of
from bloodyspy.labelling.queue import Item, Queue, Why, write_queue
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.roles import Role

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = [
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.timeout(7200),
]

EXAMPLES = int(os.environ.get("BLOODYSPY_TEST_EXAMPLES", "10"))
TESTS = Path(__file__).parents[1]
REVIEWER, READER = "vera", "rosa"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("openapi")


@pytest.fixture(scope="module")
def service(place: Path) -> Iterator[Service]:
    # The hooks give each request an address of its own.
    ready = prepared(place, BLOODYSPY_PROXIES="127.0.0.1")
    assert ready.settings.users_file is not None
    add_user(ready.settings.users_file, REVIEWER, PASSWORD, Role.REVIEW)
    add_user(ready.settings.users_file, READER, PASSWORD, Role.READ)
    picture = tinted(1)
    store_of(ready.settings).keep([Kept(picture, "", QUEUED, 0, "review")])
    item = Item(request_id=QUEUED, picture=0, sha256=hashlib.sha256(picture).hexdigest(), why=(Why.REVIEW,))
    write_queue(Queue(made=datetime.now(UTC), readers=2, items=(item,)), ready.settings.queue)
    with served(place / "service.log", ready.environment) as running:
        yield running


def schemathesis(service: Service, place: Path, name: str, examples: int) -> str:
    """Ask as this user; what was found."""
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", TESTS / "schemathesis.toml", "run"]
    command += [f"{service.url}/openapi.json", "--auth", f"{name}:{PASSWORD}", "--checks", "all", "--seed", "1"]
    command += ["--max-examples", str(examples), "--generation-database", "none", "--continue-on-failure", "--no-color"]
    path = os.pathsep.join(map(str, (TESTS, TESTS.parent)))
    environment = {**os.environ, "PYTHONPATH": path, "BLOODYSPY_TEST_HOOKS": "valid_requests"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=7000)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def statuses(service: Service) -> Counter[tuple[str, str]]:
    """How often each end-point gave which status."""
    found = Counter[tuple[str, str]]()
    for labels, value in samples(service.url)["bloodyspy_requests_total"].items():
        told = dict(labels)
        found[told["route"], told["status"]] += int(value)
    return found


@pytest.mark.parametrize(("name", "examples"), [(REVIEWER, EXAMPLES), (READER, max(1, EXAMPLES // 4))])
def test_the_service_does_what_its_document_says(service: Service, place: Path, name: str, examples: int) -> None:
    before = statuses(service)
    said = schemathesis(service, place, name, examples)
    found = statuses(service) - before
    print(said[said.index("= SUMMARY") :])  # noqa: T201
    for (route, status), times in sorted(found.items()):
        print(f"{route:35} {status} {times:6}")  # noqa: T201
    assert not [status for _, status in found if status.startswith("5")]
    answered = {route for route, status in found if status.startswith("2")}
    document = httpx.get(f"{service.url}/openapi.json", trust_env=False).json()
    if name == REVIEWER:  # or a check could pass because nothing was ever answered
        assert answered >= set(document["paths"])
    else:
        assert not [route for route in answered if "classify" in route or "smears" in route]
    assert "Traceback" not in service.log.read_text()


def test_parameters_that_do_not_fit_are_refused_with_a_sentence(service: Service) -> None:
    with service.client() as client:
        for path, given in (("/v1/classify", {"explain": "Jane Doe"}), ("/v1/smears", {"ig_limit": "Jane Doe"})):
            answer = client.post(path, params=given)
            assert answer.status_code == 422
            assert answer.json()["detail"].startswith(f"The request does not fit: `{next(iter(given))}` in the query:")
            assert answer.json()["detail"].endswith(".")
            assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
            assert "Doe" not in answer.text


def test_a_line_break_in_a_path_changes_nothing(service: Service) -> None:
    with service.client() as client:
        for job in ("a%0Ab", "%0A", f"{'0' * 32}%0A"):
            answer = client.get(f"/v1/smears/{job}/report.html")
            assert answer.status_code == 404
            assert answer.json()["detail"].startswith("There is no such smear of yours.")


def test_refusals_are_told_as_they_are(service: Service) -> None:
    document = httpx.get(f"{service.url}/openapi.json", trust_env=False).json()
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    assert list(response["content"]) == ["application/json"]
            if "security" in operation:
                assert {"401", "429", "503"} <= set(operation["responses"])
    cells = document["paths"]["/v1/smears/{job_id}/cells.csv"]["get"]["responses"]
    assert list(cells["200"]["content"]) == ["text/csv"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
