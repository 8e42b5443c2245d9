"""What Prometheus is told of the drift checks: ``metrics.prom``, for node_exporter's textfile collector.

A check is a short process that nobody could scrape, so it leaves a file. The file is written anew after each check,
from the history alone.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from monitoring.alarms import Scope, alarms
from monitoring.causes import Cause
from monitoring.history import Check
from monitoring.verdict import Kind, Overall, Verdict

logger = logging.getLogger(__name__)

FILE = "metrics.prom"
MOST = 100
"""Sites and instruments told of, the most recently checked first: a client chooses these names."""


def write(history: Path, checks: Sequence[Check], now: datetime) -> None:
    """Write the file, in one step.

    It tells of the newest check of each site and instrument of the model that was checked last. Where the disk is full,
    the file stays as it was and its age tells so.

    Args:
        history: the folder of checks.
        checks: all of them, the oldest window first.
        now: when this run of the check ended.
    """
    registry = registry_of(checks, now)
    try:
        history.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(history / FILE), registry)
    except OSError as exc:
        logger.warning("The gauges of the drift check cannot be written to %s: %s", history / FILE, exc)


def registry_of(checks: Sequence[Check], now: datetime) -> CollectorRegistry:
    """The gauges by themselves."""
    registry = CollectorRegistry()
    scope = ("site", "instrument")

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"bloodyspy_drift_{name}", words, (*scope, *labels), registry=registry)

    ran = Gauge("bloodyspy_drift_run_timestamp_seconds", "When a drift check last ran to its end.", registry=registry)
    ran.set(now.timestamp())
    checked = gauge("checked_timestamp_seconds", "When the newest verdict was reached.")
    ended = gauge("window_end_timestamp_seconds", "Time of the newest picture that was judged.")
    rows = gauge("window_rows", "Pictures in the newest window.")
    verdicts = gauge("verdict", "1 for the newest verdict.", "verdict")
    ratios = gauge("ratio", "Worst distance over its threshold; above 1 is drift.", "kind")
    open_alarms = gauge("alarm", "1 while an alarm of this cause is open.", "cause")
    accuracy = gauge("accuracy", "Share of right answers as estimated without labels; absent where withheld.", "bound")
    pending = [alarm for alarm in alarms(checks) if alarm.over is None]
    for (site, instrument), verdict in _newest(checks).items():
        at = (site, instrument)
        checked.labels(*at).set(verdict.checked.timestamp())
        rows.labels(*at).set(verdict.rows)
        if verdict.end is not None:
            ended.labels(*at).set(verdict.end.timestamp())
        for overall in Overall:
            verdicts.labels(*at, overall).set(overall is verdict.overall)
        for kind in Kind:
            if found := [column.ratio for column in verdict.columns if column.kind is kind]:
                ratios.labels(*at, kind).set(max(found))
        now_open = {alarm.cause for alarm in pending if alarm.scope == Scope.of(verdict)}
        for cause in Cause:
            open_alarms.labels(*at, cause).set(cause in now_open)
        if verdict.accuracy is not None:
            for bound, value in verdict.accuracy:
                accuracy.labels(*at, bound).set(value)
    return registry


def _newest(checks: Sequence[Check]) -> dict[tuple[str, str], Verdict]:
    """The newest verdict of each site and instrument, of the model that was checked last."""
    if not checks:
        return {}
    latest = max(checks, key=lambda check: check.verdict.checked).verdict.run_id
    found: dict[tuple[str, str], Verdict] = {}
    for check in reversed(checks):
        verdict = check.verdict
        if verdict.run_id == latest and len(found) < MOST:
            found.setdefault((verdict.site, verdict.instrument), verdict)
    return found
