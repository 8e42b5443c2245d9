"""Bad days of the real service: the answer is right or it is an error, the metric tells, nothing hangs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from burdened import ENDLESS, SLOW, bright, dark, make_burdened
from handmade import make_artefact
from operated import access_log, prepared, release, total
from running import ROOT, Service, served, settles

from bloodyspy.model.classifier import Classifier

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


def ask(service: Service, payload: bytes, seconds: float = 60) -> httpx.Response:
    """On a connection of its own, so that either worker may take it."""
    with httpx.Client(base_url=service.url, auth=("anna", "correct horse battery"), trust_env=False) as client:
        return client.post("/v1/classify", files={"file": ("a.png", payload)}, timeout=seconds)


def outcome(service: Service, payload: bytes) -> str:
    """The status, or the name of what the connection broke with; "hangs" is neither."""
    try:
        return str(ask(service, payload).status_code)
    except httpx.TimeoutException:
        return "hangs"
    except httpx.TransportError:
        return "refused"


def workers(service: Service) -> list[psutil.Process]:
    children = psutil.Process(service.process).children()
    return [child for child in children if "_bentoml_impl.worker.service" in child.cmdline()]


@contextmanager
def tiny_disk(place: Path, kilobytes: int) -> Iterator[None]:
    """A file system of that size at ``place``."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True) if shutil.which("mount") else None
    if mounted is None or mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip() if mounted else 'there is no mount'}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_a_lost_folder_and_a_corrupt_release_cost_no_answer(tmp_path: Path) -> None:
    log = tmp_path / "observations"
    artefact = make_artefact(tmp_path / "artefact")
    ready = prepared(tmp_path, artefact, BLOODYSPY_OBSERVATIONS=str(log))
    expected = pytest.approx(Classifier(artefact).observe(bright()).probabilities, abs=1e-6)

    def answered_by() -> int:
        answer = ask(service, bright()).json()
        assert tuple(answer["results"][0]["probabilities"].values()) == expected
        return int(answer["model_version"])

    with tiny_disk(log, 16), served(tmp_path / "log", ready.environment) as service:
        for _ in range(40):
            assert answered_by() == 1
        written = sum(path.read_text().count('"data_version"') for path in log.glob("*/*.jsonl"))
        lost = total(service.url, "bloodyspy_observations_lost_total")
        assert 0 < lost < 40
        assert written - 1 <= 40 - lost <= written  # the last one may have been cut off
        for path in log.glob("*/*.jsonl"):
            path.unlink()
        assert answered_by() == 1
        assert total(service.url, "bloodyspy_observations_lost_total") == lost

        for folder in log.iterdir():
            shutil.rmtree(folder)
        assert answered_by() == 1
        assert [len(path.read_text().splitlines()) for path in log.glob("*/*.jsonl")] == [1]

        assert ready.settings.bentoml_home is not None
        release(ready.settings, make_artefact(tmp_path / "second", "2" * 32, seed=2), 2)
        assert settles(lambda: ask(service, bright()).json()["model_version"] == 2)
        stored = ready.settings.bentoml_home / "models" / "bloodyspy" / "v1" / "graph.onnx"
        stored.chmod(0o644)
        stored.write_bytes(stored.read_bytes()[:-7])
        told = ready.settings.release.read_text()
        first = artefact.digest
        ready.settings.release.write_text(
            told.replace(":v2", ":v1").replace("/v2", "/v1").replace('"version": 2', '"version": 1')
            .replace("2" * 32, "0" * 32).replace(Classifier.load(tmp_path / "second").artefact.digest, first)
        )  # fmt: skip
        assert settles(lambda: total(service.url, "bloodyspy_release_refused", role="release") == 1)
        assert ask(service, bright()).json()["model_version"] == 2
        assert httpx.get(f"{service.url}/readyz", trust_env=False).status_code == 200
    assert "observation(s) lost" in service.log.read_text()
    assert "bloodyspy:v2 goes on" in service.log.read_text()


def test_a_worker_that_is_killed_or_hangs_is_replaced_and_its_counts_stay(tmp_path: Path) -> None:
    artefact = make_burdened(tmp_path / "artefact")
    ready = prepared(tmp_path, artefact, BLOODYSPY_WORKERS="2", BLOODYSPY_STALL_SECONDS="10")
    with served(tmp_path / "log", ready.environment) as service, ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: outcome(service, bright()), range(20))) == {"200"}
        counted = total(service.url, "bloodyspy_pictures_total")
        assert counted == 20
        victim, other = workers(service)
        pending = [pool.submit(outcome, service, dark(SLOW)) for _ in range(6)]
        time.sleep(0.3)
        victim.kill()
        outcomes = [future.result() for future in pending] + [outcome(service, bright()) for _ in range(10)]
        assert set(outcomes) <= {"200", "refused"}
        assert settles(lambda: total(service.url, "bloodyspy_workers") == 2, 40)
        assert other.is_running()
        assert total(service.url, "bloodyspy_workers_lost_total") == 1
        assert total(service.url, "bloodyspy_requests_in_flight") == 1  # this look
        assert total(service.url, "bloodyspy_pictures_total") >= counted + outcomes.count("200")
        before = total(service.url, "bloodyspy_pictures_total")
        assert set(pool.map(lambda _: outcome(service, bright()), range(20))) == {"200"}
        assert total(service.url, "bloodyspy_pictures_total") == before + 20

        assert outcome(service, dark(ENDLESS)) == "refused"  # the worker that took it ended itself
        assert outcome(service, bright()) == "200"
        assert total(service.url, "bloodyspy_workers_lost_total") == 2
        assert total(service.url, "bloodyspy_pictures_total") == before + 21
    assert service.log.read_text().count("Timeout (0:00:10)!") == 1
    assert "in _classify" in service.log.read_text()  # where it hung


def test_a_stop_finishes_what_was_accepted(tmp_path: Path) -> None:
    ready = prepared(tmp_path, make_burdened(tmp_path / "artefact"))
    with served(tmp_path / "log", ready.environment) as service, ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(outcome, service, dark(SLOW)) for _ in range(4)]
        assert settles(lambda: total(service.url, "bloodyspy_requests_in_flight") == 5)
        os.kill(service.process, signal.SIGTERM)
        time.sleep(0.2)
        assert outcome(service, bright()) in {"200", "refused"}
        assert [future.result() for future in pending] == ["200"] * 4
        psutil.Process(service.process).wait(30)
    assert [line["status"] for line in access_log(service) if line["route"] == "/v1/classify"][:4] == [200] * 4
    logs = (tmp_path / "var" / "observations").glob("*/*.jsonl")
    assert sum(len(path.read_text().splitlines()) for path in logs) >= 4
    assert "Traceback" not in service.log.read_text()


def test_intervals_do_not_follow_the_clock_on_the_wall(tmp_path: Path) -> None:
    """The clock of the whole service leaps a day ahead each second of its own."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is absent: apt-get install faketime")
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    ready = prepared(
        tmp_path,
        LD_PRELOAD=str(library),
        FAKETIME="+0d x86400",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        DONT_FAKE_MONOTONIC="1",
    )
    with served(tmp_path / "log", ready.environment) as service:
        started = time.monotonic()
        while time.monotonic() < started + 2:  # two days, and the watchdog's patience is a minute
            assert ask(service, bright()).status_code == 200
        seconds = total(service.url, "bloodyspy_request_duration_seconds_sum", route="/v1/classify")
        assert seconds < time.monotonic() - started
        lines = [line for line in access_log(service) if line["route"] == "/v1/classify"]
        assert all(0 < float(str(line["milliseconds"])) < 10_000 for line in lines)
        leap = datetime.fromisoformat(str(lines[-1]["time"])) - datetime.now(UTC)
        assert leap > timedelta(days=1)  # it did
        assert total(service.url, "bloodyspy_workers_lost_total") == 0


WATCHED = """
import asyncio, sys, time
from bloodyspy.serving.watchdog import Progress, call_off, watch

async def main(kind):
    progress = Progress()
    task = asyncio.create_task(watch(progress, 1))
    if kind == "loop hangs":
        await asyncio.sleep(0.1)
        time.sleep(30)
    if kind == "one hangs, others go on":
        progress.__enter__()
    for _ in range(15):
        with progress:
            await asyncio.sleep(0.1)
    task.cancel()
    call_off()
    if kind == "called off":
        time.sleep(1.5)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize(("kind", "code"), [("loop hangs", 1), ("one hangs, others go on", 0), ("called off", 0)])
def test_the_watchdog_bites_whom_it_should(kind: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED, kind], cwd=ROOT, capture_output=True, text=True, timeout=25)
    assert done.returncode == code, done.stderr
    assert ("Timeout" in done.stderr) == bool(code)
