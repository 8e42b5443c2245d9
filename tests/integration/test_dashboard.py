"""A real Prometheus on deploy/prometheus.yml that looks at the real service: every panel has something to show."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from judged_windows import verdict
from operated import prepared
from pictures import tinted
from running import ROOT, free_port, served, settles

from monitoring.gauges import write
from monitoring.history import Check
from monitoring.verdict import Overall

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

DEPLOY = ROOT / "deploy"
SILENT = {"Drift: open alarms"}
"""Panels without series: no alarm is open."""


@contextmanager
def drift_gauges(place: Path) -> Iterator[str]:
    """What a stable check leaves, told by a real node_exporter; its address."""
    place.mkdir()
    now = datetime.now(UTC)
    write(place, [Check(place, verdict(Overall.STABLE, end=now))], now)
    address = f"127.0.0.1:{free_port()}"
    only = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={place}"]
    with (place / "log").open("wb") as log:
        command = ["prometheus-node-exporter", *only, f"--web.listen-address={address}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@contextmanager
def prometheus(place: Path, targets: dict[str, str]) -> Iterator[httpx.Client]:
    configuration = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    jobs = [job for job in configuration["scrape_configs"] if job["job_name"] in targets]
    for job in jobs:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    configuration["scrape_configs"] = jobs
    (place / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    shutil.copy(DEPLOY / "alerts.yml", place)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={place / 'prometheus.yml'}", f"--storage.tsdb.path={place / 'tsdb'}"]
    with (place / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://{address}/api/v1", trust_env=False, timeout=30) as client:
                assert settles(lambda: _scraped(client) >= 3), (place / "prometheus.log").read_text()
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _scraped(client: httpx.Client) -> int:
    try:
        results = query(client, 'count_over_time(up{job="bloodyspy"}[1m])')
    except httpx.TransportError:
        return 0
    return int(results[0]["value"][1]) if results else 0


def query(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = client.get("/query", params={"query": expression.replace("$__rate_interval", "1m")})
    if answer.status_code == 503:  # still starting
        return []
    assert answer.status_code == 200, answer.text
    result: list[dict[str, Any]] = answer.json()["data"]["result"]
    return result


def test_every_panel_has_series_and_every_rule_can_be_evaluated(tmp_path: Path) -> None:
    for program in ("prometheus", "prometheus-node-exporter"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is absent: apt-get install {program}")
    ready = prepared(tmp_path)
    with served(tmp_path / "log", ready.environment) as service, service.client() as client:
        files = [("files", (f"{i}.png", tinted(i))) for i in range(8)]
        assert client.post("/v1/classify", files=files).status_code == 200
        (tmp_path / "prometheus").mkdir()
        with (
            drift_gauges(tmp_path / "drift") as drift,
            prometheus(
                tmp_path / "prometheus", {"bloodyspy": service.url.removeprefix("http://"), "drift": drift}
            ) as told,
        ):
            assert client.post("/v1/classify", files=files).status_code == 200
            assert settles(lambda: _value(told, "sum(bloodyspy_pictures_total)") == 16)
            dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "bloodyspy.json").read_text())
            empty = {
                panel["title"]
                for panel in dashboard["panels"]
                for target in panel["targets"]
                if not query(told, target["expr"])
            }
            assert empty == SILENT
            (row,) = query(told, 'bloodyspy_served_model_info{role="release"} > 0')
            assert row["metric"]["version"] == "1"
            groups = told.get("/rules").json()["data"]["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            assert len(rules) == len(re.findall("alert:", (DEPLOY / "alerts.yml").read_text()))
            assert settles(lambda: _health(told) == {"ok"})
            assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def _value(client: httpx.Client, expression: str) -> float:
    results = query(client, expression)
    return float(results[0]["value"][1]) if results else 0.0


def _health(client: httpx.Client) -> set[str]:
    return {rule["health"] for group in client.get("/rules").json()["data"]["groups"] for rule in group["rules"]}
