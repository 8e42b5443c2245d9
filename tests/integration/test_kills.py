"""Releases and rollbacks that are killed anywhere while people ask: BLOODYSPY_TEST_KILLS of them, 6 unless told."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from audited import make_project
from running import NAME, PASSWORD, Service, served

from bloodyspy.adapters import packaging
from bloodyspy.custody import releasing
from bloodyspy.custody.verification import verify
from bloodyspy.model.classifier import Classifier
from bloodyspy.promotion import trail
from bloodyspy.promotion.history import live, open_release
from bloodyspy.serving.accounts import add_user
from bloodyspy.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

KILLS = int(os.environ.get("BLOODYSPY_TEST_KILLS", "6"))

# A promotion of version 2 as the flow `promote` ends with it: the gate has decided, and would not ask anew.
RELEASE = """
from prefect import flow
from bloodyspy.promotion.events import Cause
from bloodyspy.promotion.release import one_at_a_time
from pipelines.project import project
from pipelines.release import release, settle

@flow
def released():
    s, _ = project()
    print("begins", flush=True)
    with one_at_a_time(s):
        settle(s)
        release(2, Cause.PROMOTION, "a drill", s)

released()
"""
# A rollback after a promotion that was killed only undoes that one: it begins before it knows.
ROLLBACK = """
from pipelines import release
project = release.project
release.project = lambda: print("begins", flush=True) or project()
release.rollback("a drill", 1)
"""


@dataclass
class Asking:
    """Requests without a pause, each of several pictures that the two versions answer differently."""

    service: Service
    pictures: list[bytes]
    expected: dict[int, list[dict[str, float]]]
    stop: threading.Event = field(default_factory=threading.Event)
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        files = [("files", (f"{i}.png", picture)) for i, picture in enumerate(self.pictures)]
        with self.service.client() as client:
            while not self.stop.is_set():
                try:
                    answer = client.post("/v1/classify", files=files)
                except httpx.HTTPError as exc:
                    self.wrong.append(repr(exc))
                    continue
                if answer.status_code != 200:
                    self.wrong.append(f"{answer.status_code}: {answer.text}")
                    continue
                told = answer.json()
                version = told["model_version"]
                if [result["probabilities"] for result in told["results"]] != self.expected[version]:
                    self.wrong.append(json.dumps(told))
                self.answers[version] += 1


@pytest.fixture(scope="module")
def s(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_project(tmp_path_factory.mktemp("project"))


def answers_of(s: Settings, version: int, pictures: list[bytes]) -> list[dict[str, float]]:
    classifier = Classifier(packaging.stored(version, s), s.threads)
    observed = [classifier.observe(picture).row() for picture in pictures]
    return [{name.removeprefix("p_"): float(row[name]) for name in row if name.startswith("p_")} for row in observed]


@pytest.mark.timeout(7200)
def test_killed_releases_and_rollbacks_answer_nobody_wrongly(s: Settings) -> None:
    users = s.state / "users.json"
    add_user(users, NAME, PASSWORD)
    environment = {"BLOODYSPY_ROOT": str(s.root), "BLOODYSPY_STATE": str(s.state), "BLOODYSPY_USERS_FILE": str(users)}
    pictures = [path.read_bytes() for path in sorted((s.data / "basophil").glob("*.png"))[:3]]
    pictures += [path.read_bytes() for path in sorted((s.data / "platelet").glob("*.png"))[:3]]
    expected = {version: answers_of(s, version, pictures) for version in (1, 2)}
    assert all(one != other for one, other in zip(expected[1], expected[2], strict=True))

    draw, found = random.Random(1), Counter[str]()
    with served(s.state / "service.log", environment) as service:
        asking = Asking(service, pictures, expected)
        people = [threading.Thread(target=asking.run) for _ in range(2)]
        for person in people:
            person.start()
        try:
            whole = max(_run(s, ROLLBACK), _run(s, RELEASE))
            assert releasing.agrees(2, s)
            made = live(trail.entries(s))
            assert made is not None
            for number in range(KILLS):
                found[_kill(s, (ROLLBACK, RELEASE)[number % 2], draw, whole, made[1].seconds)] += 1
            _run(s, RELEASE)
            _until_served(service, 2)
        finally:
            asking.stop.set()
            for person in people:
                person.join(60)
    print(f"{KILLS} kills: {dict(found)}; answers: {dict(asking.answers)}")  # noqa: T201
    assert asking.wrong == []
    assert set(asking.answers) == {1, 2}
    assert releasing.agrees(2, s)
    assert [str(fault) for checked in verify(s) for fault in checked.faults] == []


def _run(s: Settings, script: str) -> float:
    """Seconds from its begin to its end."""
    with _started(s, script) as process:
        begun = time.monotonic()
        rest = process.stdout.read() if process.stdout else ""
        assert process.wait(120) == 0, rest
    return time.monotonic() - begun


def _kill(s: Settings, script: str, draw: random.Random, whole: float, is_open: float) -> str:
    """Kill a run at a random time: one in three anywhere, the others at about when a release is open.

    Args:
        s: where things are.
        script: what to run.
        draw: of the time.
        whole: seconds of a run.
        is_open: seconds that a release is open.
    """
    known = len(s.audit_log.read_bytes().splitlines())
    with _started(s, script) as process:
        if draw.random() < 1 / 3:
            time.sleep(draw.uniform(0, whole))
        else:
            while process.poll() is None and len(s.audit_log.read_bytes().splitlines()) == known:
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 1.2 * is_open))
        over = process.poll() is not None
        with contextlib.suppress(ProcessLookupError):  # it may have come to its end
            os.killpg(process.pid, signal.SIGKILL)  # Prefect's ephemeral server, too
        process.wait(60)
    if over:
        return "after its end"
    return "while a release was open" if open_release(trail.entries(s)) else "before or after a release"


def _started(s: Settings, script: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "BLOODYSPY_ROOT": str(s.root), "BLOODYSPY_STATE": str(s.state)}
    environment.pop("PREFECT_HOME", None)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("begins"):
            return process
    process.communicate()  # or what it leaves open fails whichever test comes next
    raise AssertionError("".join(said))


def _until_served(service: Service, version: int) -> None:
    give_up = time.monotonic() + 30
    with service.client() as client:
        while client.get("/v1/model").json()["model_version"] != version:
            assert time.monotonic() < give_up
            time.sleep(0.2)
