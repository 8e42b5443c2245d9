"""The folder that ``evidently ui --workspace var/evidently`` shows: a project a model, a run a check.

It is a copy for looking at. Whatever is wrong with it is logged, and the check goes on.
"""

import logging
import shutil
import tempfile
import uuid
import warnings
from pathlib import Path

from monitoring.verdict import Kind, Verdict
from monitoring.verdict_metric import SHARE, worst

with warnings.catch_warnings():
    # What Evidently and its web framework call by an outdated name is theirs to mend.
    warnings.simplefilter("ignore")
    from evidently.core.report import Snapshot
    from evidently.sdk.models import DashboardModel, DashboardPanelPlot, DashboardTabModel, PanelMetric, ProjectModel
    from evidently.sdk.panels import line_plot_panel
    from evidently.ui.storage.local.base import LocalState

logger = logging.getLogger(__name__)

_NAMES = uuid.UUID("6f6d3c53-6a19-4d0d-8d0e-6a2f0c0b51d1")
"""Ids are made of names below this one: the same check is the same run, however often it is added."""


def project_of(run_id: str) -> uuid.UUID:
    """Id of the project of a model."""
    return uuid.uuid5(_NAMES, run_id)


def metadata(verdict: Verdict) -> dict[str, str]:
    """What a run is found by in the UI."""
    said = {
        "verdict": str(verdict.overall),
        "cause": str(verdict.cause or ""),
        "site": verdict.site,
        "instrument": verdict.instrument,
        "accuracy": f"{verdict.accuracy.value:.4f}" if verdict.accuracy else "",
    }
    return {name: value for name, value in said.items() if value}


def add(run: Snapshot, verdict: Verdict, name: str, workspace: Path) -> None:
    """Add the run of a check; one that is there already is put in its place again.

    Args:
        run: Evidently's.
        verdict: it belongs to.
        name: of the check.
        workspace: the folder; made where there is none.
    """
    project, this = project_of(verdict.run_id), uuid.uuid5(_NAMES, name)
    try:
        place = workspace / str(project)
        if not (place / "dashboard.json").exists():
            _begin(verdict, project, workspace)
        _move_in(run, project, this, workspace)
    except (OSError, ValueError, TypeError) as exc:
        logger.warning("The check is not in Evidently's workspace %s: %s. Remove what is there.", workspace, exc)


def _begin(verdict: Verdict, project: uuid.UUID, workspace: Path) -> None:
    version = "" if verdict.model_version is None else f"version {verdict.model_version}, "
    drawn = " Drawn cells: no number here tells of real ones." if verdict.synthetic else ""
    state = LocalState(str(workspace))
    state.write_project(
        ProjectModel(
            id=project, name=f"Drift of {version}run {verdict.run_id[:8]}", description=f"One run a check.{drawn}"
        )
    )
    panels = [
        _line("Share of columns that drifted", [SHARE]),
        _line("Worst column of each kind, over its threshold", [worst(kind) for kind in Kind]),
    ]
    tab = DashboardTabModel(id=uuid.uuid5(project, "tab"), title="Drift", panels=[panel.id for panel in panels])
    state.write_dashboard(project, DashboardModel(tabs=[tab], panels=panels))


def _line(title: str, names: list[str]) -> DashboardPanelPlot:
    values = [PanelMetric(legend=name, metric="VerdictNumber", metric_labels={"column": name}) for name in names]
    return line_plot_panel(title, values)


def _move_in(run: Snapshot, project: uuid.UUID, this: uuid.UUID, workspace: Path) -> None:
    """In one step: the UI does not start where a run is half a file."""
    snapshots = workspace / str(project) / "snapshots"
    snapshots.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".adding-", dir=workspace))
    try:
        LocalState(str(aside)).write_snapshot(project, this, run.to_snapshot_model())
        (aside / str(project) / "snapshots" / f"{this}.json").replace(snapshots / f"{this}.json")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
