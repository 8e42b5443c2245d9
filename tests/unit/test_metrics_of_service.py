"""The service's metrics in one process, and over processes as Prometheus's own client merges them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import judged
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from running import ROOT

from bloodyspy.errors import ImageTooLarge, UnreadableImage
from bloodyspy.model.release import Release
from bloodyspy.observation import Provenance
from bloodyspy.policy import Action, Reason
from bloodyspy.serving.metrics import STATISTICS, Metrics

SEEN = judged(np.full(8, 1 / 8), Provenance("a" * 32, "d" * 32))


@given(st.lists(st.floats(0, 255), min_size=1, max_size=30))
def test_each_statistic_falls_into_its_bucket(values: list[float]) -> None:
    metrics = Metrics(registry := CollectorRegistry())
    for value in values:
        metrics.picture(replace(SEEN, statistics=replace(SEEN.statistics, brightness=value)))
    for bound in STATISTICS["brightness"][1]:
        found = registry.get_sample_value("bloodyspy_picture_brightness_bucket", {"le": str(float(bound))})
        assert found == sum(value <= bound for value in values)
    assert registry.get_sample_value("bloodyspy_picture_brightness_count") == len(values)


def test_what_was_decided_is_counted_by_action_and_reason() -> None:
    metrics = Metrics(registry := CollectorRegistry())
    assert registry.get_sample_value("bloodyspy_actions_total", {"action": "review"}) == 0
    verdict = replace(SEEN.verdict, novelty=0.25)
    metrics.picture(replace(SEEN, verdict=replace(verdict, action=Action.REVIEW, reasons=(Reason.FOCUS, Reason.STAIN))))
    metrics.picture(replace(SEEN, verdict=replace(verdict, action=Action.AUTO, reasons=())))
    for action in (Action.REVIEW, Action.AUTO):
        assert registry.get_sample_value("bloodyspy_actions_total", {"action": action}) == 1
    assert registry.get_sample_value("bloodyspy_reasons_total", {"reason": "focus"}) == 1
    assert registry.get_sample_value("bloodyspy_picture_novelty_sum") == 0.5
    metrics.picture_refused(UnreadableImage("text"))
    metrics.picture_refused(ImageTooLarge(10, 10, 5))
    for error in ("UnreadableImage", "ImageTooLarge"):
        assert registry.get_sample_value("bloodyspy_pictures_refused_total", {"error": error}) == 1
    metrics.waiting(7)
    metrics.batch(4)
    assert registry.get_sample_value("bloodyspy_pictures_waiting") == 7
    assert registry.get_sample_value("bloodyspy_batch_pictures_bucket", {"le": "4.0"}) == 1


def test_an_exchange_leaves_one_version() -> None:
    metrics = Metrics(registry := CollectorRegistry())
    old, new = (
        Release(version=n, model=f"bloodyspy:v{n}", path="x", run_id=str(n) * 32, digest=str(n) * 64) for n in (1, 2)
    )
    metrics.serves("release", None, old)
    metrics.serves("release", old, new)
    served = {
        sample.labels["version"]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "bloodyspy_served_model_info"
    }
    assert served == {"1": 0, "2": 1}


WORKER = """
import sys
from bloodyspy.serving.metrics import exposition, process_metrics
metrics = process_metrics()
metrics.started(2)
if sys.argv[1] == "works":
    metrics.begun()
    metrics.answered("GET", "/v1/model", 200, 0.1, 0, 10)
    metrics.begun()
    print("begun", flush=True)
    sys.stdin.read()
else:
    print(exposition().decode())
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}


def scrape(environment: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", WORKER, "tells"], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    families = text_string_to_metric_families(done.stdout)
    wanted = {"bloodyspy_requests_total", "bloodyspy_requests_in_flight", "bloodyspy_workers_lost_total"}
    return {sample.name: sample.value for family in families for sample in family.samples if sample.name in wanted}


def test_the_dead_keep_what_they_counted_and_nothing_in_hand(environment: dict[str, str], tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, "works"],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"begun\n"
    alive = scrape(environment)
    assert (alive["bloodyspy_requests_total"], alive["bloodyspy_requests_in_flight"]) == (1, 1)
    worker.kill()
    for lost in (2, 3):  # the worker, at first a zombie, and each process that told of it
        dead = scrape(environment)
        assert (dead["bloodyspy_requests_total"], dead["bloodyspy_requests_in_flight"]) == (1, 0)
        assert dead["bloodyspy_workers_lost_total"] == lost
        worker.wait()
    worker.stdin.close()
    worker.stdout.close()
