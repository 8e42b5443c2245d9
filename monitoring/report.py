"""Writes a check: Evidently's report, drawn with our distances and our thresholds, beside the verdict it belongs to.

Evidently's own tests compare p-values or textbook thresholds, and its picture would contradict the verdict. It lets a
report bring its own tests, so it is given the very functions that the verdict was reached with.
"""

import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from bloodyspy.errors import MonitoringError
from monitoring import pictures, verdict_metric, workspace
from monitoring.alarms import Scope
from monitoring.comparison import CASE_MIX, MEASURED, Comparison, kolmogorov
from monitoring.history import PAGE, REPORT, REPORT_JSON, VERDICT, WINDOW, Check, newest_first, read_check
from monitoring.page import Content, render
from monitoring.page.trend import SHOWN
from monitoring.pictures import Album
from monitoring.verdict import Overall, Verdict

with warnings.catch_warnings():
    # What Evidently and its web framework call by an outdated name is theirs to mend.
    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Dataset, Report
    from evidently.core.report import Snapshot
    from evidently.legacy.calculations.stattests.registry import StatTest, register_stattest
    from evidently.legacy.core import ColumnType
    from evidently.presets import DataDriftPreset

_UNFINISHED = ".writing-"
_ABANDONED = 3600.0


def write(
    verdict: Verdict,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    folder: Path,
    album: Album = pictures.NONE,
    ui: Path | None = None,
) -> Check:
    """Write a check's folder, complete or not at all.

    Args:
        verdict: what was found.
        reference, current: the frames that it was found in.
        folder: the check's own (:func:`monitoring.history.check_name`); one that is there already is left as it is.
        album: where the pictures of the page come from.
        ui: workspace of Evidently's UI; None for none.

    Raises:
        MonitoringError: Evidently's report contradicts the verdict, or something else is in the place; nothing is
            written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder.parent))
    try:
        judged = verdict.overall is not Overall.INSUFFICIENT
        if judged:
            run = _draw(verdict, reference, current, unfinished)
            if ui is not None:
                workspace.add(run, verdict, folder.name, ui)
        (unfinished / VERDICT).write_text(verdict.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _write_page(verdict, reference, current, unfinished, album)
        current.drop(columns="specimen", errors="ignore").to_parquet(unfinished / WINDOW)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(folder)
        except OSError as exc:
            if not (folder / VERDICT).exists():
                raise MonitoringError(f"The check cannot be kept in {folder}: {exc}. Delete what is there.") from exc
            return read_check(folder)  # another check of the same window was quicker
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Check(folder, verdict)


def _write_page(verdict: Verdict, reference: pd.DataFrame, current: pd.DataFrame, folder: Path, album: Album) -> None:
    shown = pictures.choose(reference, current, album)
    content = Content(
        verdict,
        reference,
        current,
        _past(verdict, folder.parent),
        shown,
        REPORT if verdict.overall is not Overall.INSUFFICIENT else None,
    )
    (folder / PAGE).write_text(render(content), encoding="utf-8")
    pictures.write_list(shown, folder)


def _past(verdict: Verdict, history: Path) -> list[Verdict]:
    """The last checks of the same scope that are not later than this one, the oldest window first."""

    def when(one: Verdict) -> datetime:
        return one.end or one.checked

    of_model = (check.verdict for check in newest_first(history, verdict.run_id))
    same = (one for one in of_model if Scope.of(one) == Scope.of(verdict) and when(one) <= when(verdict))
    return sorted(islice(same, SHOWN - 1), key=when)


def _sweep(history: Path) -> None:
    """Remove what checks that were killed have left behind."""
    for path in history.glob(f"{_UNFINISHED}*"):
        if time.time() - path.stat().st_mtime > _ABANDONED:
            shutil.rmtree(path, ignore_errors=True)


def _draw(verdict: Verdict, reference: pd.DataFrame, current: pd.DataFrame, folder: Path) -> Snapshot:
    methods = _register_distances(reference, current)
    columns = [column for column in verdict.columns if column.name in methods]
    definition = DataDefinition(numerical_columns=list(MEASURED), categorical_columns=[CASE_MIX])
    preset = DataDriftPreset(
        columns=[column.name for column in columns],
        per_column_method=methods,
        per_column_threshold={column.name: column.threshold for column in columns},
        drift_share=1 / len(columns),  # the overall rule: one column is enough
    )
    shown = list(methods)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it correlates constant columns and divides by zero
        run = Report([preset, *verdict_metric.metrics(verdict)], include_tests=True).run(
            current_data=Dataset.from_pandas(current[shown], data_definition=definition),
            reference_data=Dataset.from_pandas(reference[shown], data_definition=definition),
            additional_data={verdict_metric.BESIDE: verdict_metric.numbers(verdict)},
            timestamp=verdict.end,
            name=f"{verdict.overall}, {verdict.cause}" if verdict.cause else str(verdict.overall),
            tags=[str(verdict.overall)],
            metadata=workspace.metadata(verdict),
        )
        content = json.loads(run.json())
        run.save_html(str(folder / REPORT))
    _refuse_contradiction(verdict, content)
    (folder / REPORT_JSON).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return run


def _register_distances(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, str]:
    """Tell Evidently our distances; the name of the method of each column.

    It hands a test one column's values, in the order of the rows; the predicted types beside them are ours.
    """
    comparison, types = Comparison(reference), current[CASE_MIX].to_numpy()

    def within(name: str) -> Callable[..., tuple[float, bool]]:
        return lambda _, values, __, threshold: _tested(
            float(kolmogorov(comparison.places(name, values, types)[None])[0]), threshold
        )

    methods = {}
    for name in MEASURED:
        methods[name] = f"within_type_{name}"
        register_stattest(
            StatTest(methods[name], "Kolmogorov's distance within predicted types", [ColumnType.Numerical]),
            within(name),
        )
    methods[CASE_MIX] = "share_distance"
    register_stattest(
        StatTest(methods[CASE_MIX], "largest difference of a share, in deviations", [ColumnType.Categorical]),
        lambda _, values, __, threshold: _tested(comparison.share_distance(values), threshold),
    )
    return methods


def _tested(distance: float, threshold: float) -> tuple[float, bool]:
    return distance, distance > threshold


def _refuse_contradiction(verdict: Verdict, report: dict[str, Any]) -> None:
    # By the tests' configuration: a metric's name is made for people and changes between releases.
    failed = {
        test["metric_config"]["params"]["column"]
        for test in report["tests"]
        if "column" in test["metric_config"]["params"] and test["status"] == "FAIL"
    }
    drifted = set(verdict.drifted_columns)
    if failed != drifted:
        raise MonitoringError(
            f"Evidently's report says that {sorted(failed)} drifted, the verdict {sorted(drifted)}: "
            "another version of Evidently is installed. Install the project's lock."
        )
