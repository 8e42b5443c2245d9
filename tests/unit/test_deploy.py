"""``deploy/`` as far as it can be tried without a container engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose
from judged_windows import verdict
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from running import ROOT

from bloodyspy.serving.metrics import Metrics
from bloodyspy.settings import Settings
from monitoring import gauges
from monitoring.causes import Cause
from monitoring.history import Check
from monitoring.verdict import Overall

DEPLOY = ROOT / "deploy"
COMPOSE = (DEPLOY / "compose.yaml").read_text()
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "bloodyspy.json").read_text())
ALERTS = yaml.safe_load((DEPLOY / "alerts.yml").read_text())
OURS = {"service", "mlflow", "prefect", "worker", "state"}
"""Services whose image holds this environment; the others are their makers' own."""

NOT_IN_METRICS = {"up", "bloodyspy_workers_lost_total", "bloodyspy_observations_lost_total"}


def interpolated(text: str) -> str:
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text).replace("$$", "$")


def services() -> dict[str, dict[str, object]]:
    merged: dict[str, dict[str, dict[str, object]]] = yaml.safe_load(interpolated(COMPOSE))
    return merged["services"]


def checked(text: str) -> PyCompose:
    """By the specification; YAML's own anchors and merges are resolved first."""
    compose = PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(interpolated(text))))
    compose.validate()
    return compose


def test_the_compose_file_is_one() -> None:
    assert {*OURS, "postgres", "textfile", "prometheus", "grafana"} == set(checked(COMPOSE).service_names())


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("mem_limit: 64m", "mem_limt: 64m", "mem_limt"),
        ("networks: [inner]", "networks: [outer]", "outer"),
        ("secrets: [pseudonym_key]", "secrets: [pseudonym]", "pseudonym"),
        ("interval: 10s", "interval: soon", "soon"),
    ],
)
def test_the_check_of_the_compose_file_can_fail(right: str, wrong: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked(COMPOSE.replace(right, wrong, 1))


def test_nothing_runs_as_root_or_without_limits() -> None:
    for name, service in services().items():
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", str(service["user"])), name
        assert service["cap_drop"] == ["ALL"], name
        assert "mem_limit" in service, name
        assert name in {"state", "worker"} or "healthcheck" in service, name
        for port in service.get("ports", []):  # type: ignore[attr-defined]
            assert str(port).startswith("127.0.0.1:"), name


def test_secrets_are_files_that_git_does_not_take() -> None:
    document = yaml.safe_load(COMPOSE)
    for name, secret in document["secrets"].items():
        assert secret["file"] == f"./secrets/{name}"
    for place in ("secrets/postgres_password", "users/users.json"):
        done = subprocess.run(["git", "check-ignore", "-q", str(DEPLOY / place)], cwd=ROOT)
        assert done.returncode == 0, place
    for service in services().values():
        for name, value in dict(service.get("environment", {})).items():  # type: ignore[call-overload]
            if re.search("PASSWORD|KEY|SECRET", name):
                assert str(value).startswith("/run/secrets/"), name


def test_what_it_mounts_is_there_and_what_it_sets_is_a_setting() -> None:
    for service in services().values():
        for volume in service.get("volumes", []):  # type: ignore[attr-defined]
            source = str(volume).split(":")[0]
            if source.startswith("./") and source != "./users":
                assert (DEPLOY / source).exists(), source
        for name in dict(service.get("environment", {})):  # type: ignore[call-overload]
            if name.startswith("BLOODYSPY_"):
                assert name.removeprefix("BLOODYSPY_").lower() in Settings.model_fields, name


def options(command: list[str]) -> list[str]:
    return [word.split("=")[0] for word in command if word.startswith("-")]


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_exists_and_knows_its_options(name: str) -> None:
    service = services()[name]
    command = [str(word) for word in service["command"]]  # type: ignore[attr-defined]
    if name == "service":
        command = ["bentoml", *command]  # what the bento's entry point makes of it
    program = shutil.which(command[0])
    assert program is not None
    if given := options(command):
        words = [word for word in command[1:] if not word.startswith("-")]
        verbs = words[: {"bentoml": 1, "mlflow": 1, "prefect": 2}[command[0]]]
        environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
        done = subprocess.run([program, *verbs, "--help"], capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr
        assert [option for option in given if option not in done.stdout] == []
    for check in [service.get("healthcheck", {"test": []})]:
        for word in check["test"][3:]:  # type: ignore[index]
            compile(str(word), name, "exec")


def test_prometheus_takes_its_configuration_and_its_own_command() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is absent: apt-get install prometheus")
    done = subprocess.run(["promtool", "check", "config", "prometheus.yml"], cwd=DEPLOY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    helped = subprocess.run(["prometheus", "--help"], capture_output=True, text=True)
    known = helped.stdout + helped.stderr
    command = [str(word) for word in services()["prometheus"]["command"]]  # type: ignore[attr-defined]
    assert [option for option in options(command) if option not in known] == []


def test_the_alerts_of_drift_fire_when_they_should(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is absent: apt-get install prometheus")
    alarm = 'bloodyspy_drift_alarm{site="north",instrument="",cause="stain"}'
    test = {
        "rule_files": [str(DEPLOY / "alerts.yml")],
        "tests": [
            {
                "interval": "5m",
                "input_series": [
                    {"series": alarm, "values": "0+0x12 1+0x60"},
                    {"series": "bloodyspy_drift_run_timestamp_seconds", "values": "0+0x100"},
                ],
                "alert_rule_test": [
                    {"eval_time": "30m", "alertname": "Drifted", "exp_alerts": []},
                    {"eval_time": "2h", "alertname": "Drifted", "exp_alerts": [_fired("Drifted", site="north")]},
                    {"eval_time": "2h", "alertname": "DriftCheckLate", "exp_alerts": []},
                    {"eval_time": "4h", "alertname": "DriftCheckLate", "exp_alerts": [_fired("DriftCheckLate")]},
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _fired(alert: str, **labels: str) -> dict[str, dict[str, str]]:
    (rule,) = [rule for group in ALERTS["groups"] for rule in group["rules"] if rule["alert"] == alert]
    summaries = {
        "Drifted": "The pictures have changed, probably stain, at north.",
        "DriftCheckLate": "No drift check has run to its end for 4h 0m 0s; it should every hour.",
    }
    told = {"summary": summaries[alert], "runbook": rule["annotations"]["runbook"]}
    cause = {"cause": "stain"} if alert == "Drifted" else {}
    return {"exp_labels": {"severity": "ticket", **labels, **cause}, "exp_annotations": told}


def test_dashboard_and_alerts_ask_for_metrics_that_exist() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.serves("release", None, None)
    history = [Check(Path(), verdict(Overall.DRIFTED, Cause.STAIN))]
    both = (registry, gauges.registry_of(history, datetime.now(UTC)))
    names = {sample for each in both for metric in each.collect() for sample in _names(metric)}
    asked = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
    asked += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    named = {name for expression in asked for name in re.findall(r"\bbloodyspy_\w+", expression)}
    assert len(named) > 20
    assert named - names <= NOT_IN_METRICS
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def _names(metric: Metric) -> set[str]:
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
    return {metric.name + suffix for suffix in suffixes}


def test_every_alert_names_a_page_of_the_runbook() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            (page,) = re.findall(r'^docs/runbook\.md, "(.+)"$', rule["annotations"]["runbook"])
            assert re.search(rf'^## "?{re.escape(page)}"?$', runbook, re.MULTILINE), page


def test_the_platform_s_image_installs_as_the_readme_does() -> None:
    lines = (DEPLOY / "platform.Dockerfile").read_text().splitlines()
    made = next(line for line in lines if line.startswith("RUN make"))
    target = shlex.split(made)[2]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert next(line for line in lines if line.startswith("USER")) == "USER bloodyspy"
    assert not [path for path in map(Path, ("secrets", "users")) if f"deploy/{path}" not in _ignored()]


def _ignored() -> str:
    return (DEPLOY / "platform.Dockerfile.dockerignore").read_text()
