"""A whole drift check: the log that the service writes, our verdict, Evidently's report."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from handmade import judged, scores_of
from judged_windows import column
from numpy.typing import NDArray
from observed import RUN as RUN_OBSERVED
from observed import START, live, observed, signatures

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import MonitoringError
from bloodyspy.evaluation.signatures import of_pictures
from bloodyspy.images.corruption import Shift, shift
from bloodyspy.images.decode import decode
from bloodyspy.images.preprocess import InputSpec, golden_hash
from bloodyspy.images.statistics import describe
from bloodyspy.images.synthetic import draw_picture
from bloodyspy.model.artifact import METRICS, REFERENCE, SIGNATURES, Artefact, ModelSpec
from bloodyspy.model.inference import Precision, Runtime
from bloodyspy.observation import Observation, Origin, Provenance, rows
from bloodyspy.params import Apart, Params
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.settings import Settings
from bloodyspy.store.windows import Window
from monitoring.causes import Cause
from monitoring.check import check_drift, check_window, rule_of
from monitoring.comparison import FEATURES
from monitoring.drift import Rule, judge
from monitoring.history import REPORT, REPORT_JSON, VERDICT, WINDOW, Check, checks, history, newest_first
from monitoring.verdict import Overall, Verdict

ROOT = Path(__file__).parents[2]
RUN, DATA = "c" * 32, "d" * 32
RULE = Rule(minimum_rows=50, rate=0.01)
MARKS = signatures()
Pictures = Sequence[tuple[NDArray[np.uint8], CellType]]


def observe(pictures: Pictures, seed: int) -> list[Observation]:
    """Observations of pictures as a network that is always right would answer; the statistics are measured."""
    random = np.random.default_rng(seed)
    observations = []
    for pixels, cell in pictures:
        probabilities = np.full(len(CELL_TYPES), 0.01, dtype=np.float32)
        probabilities[cell.position] = random.uniform(0.8, 0.93)
        observations.append(judged(probabilities / probabilities.sum(), Provenance(RUN, DATA), describe(pixels)))
    return observations


def drawn(first: int, count: int) -> Pictures:
    cells = [CELL_TYPES[index % len(CELL_TYPES)] for index in range(first, first + count)]
    return [(decode(draw_picture(cell, first + i, 7)[1]).pixels, cell) for i, cell in enumerate(cells)]


def artefact_of(folder: Path, reference: Sequence[Observation]) -> Artefact:
    """An artefact as far as monitoring looks into it."""
    folder.mkdir()
    pd.DataFrame(rows(reference)).to_parquet(folder / REFERENCE)
    marks = of_pictures([pixels for pixels, _ in drawn(500, 8)])
    (folder / SIGNATURES).write_text(marks.model_dump_json(), encoding="utf-8")
    (folder / METRICS).write_text(scores_of(0.95).model_dump_json(), encoding="utf-8")
    spec = InputSpec(size=64)
    return Artefact(
        path=folder,
        spec=ModelSpec(
            candidate="small_cnn",
            network="small_cnn",
            input=spec,
            golden=golden_hash(spec),
            run_id=RUN,
            git_commit="0" * 40,
            data_version=DATA,
            manifest_digest="e" * 64,
            synthetic=True,
            parameters=1,
            temperature=1.0,
            runtime=Runtime.ONNXRUNTIME,
            precision=Precision.FLOAT32,
        ),
        digest="f" * 64,
    )


def serve(folder: Path, observations: Sequence[Observation]) -> None:
    log = ObservationLog(folder)
    for number, observation in enumerate(observations):
        log.append([observation], f"request-{number}", 3)


@pytest.fixture(scope="module")
def reference_pictures() -> Pictures:
    return drawn(0, 96)


@pytest.fixture(scope="module")
def later_pictures() -> Pictures:
    return drawn(1_000, 56)


def evidence(check: Check) -> tuple[dict[str, float], set[str], int]:
    """What Evidently's JSON says: threshold of each column, columns drifted, and their number, from configurations."""
    report = json.loads((check.folder / REPORT_JSON).read_bytes())
    thresholds = {
        m["config"]["column"]: m["config"]["threshold"] for m in report["metrics"] if "threshold" in m["config"]
    }
    failed = {
        test["metric_config"]["params"]["column"]
        for test in report["tests"]
        if test["status"] == "FAIL" and "column" in test["metric_config"]["params"]
    }
    (count,) = [m["value"]["count"] for m in report["metrics"] if m["config"]["type"].endswith("DriftedColumnsCount")]
    return thresholds, failed, count


def test_drawn_pictures_come_out_stable_and_restained_ones_drifted(
    tmp_path: Path, settings: Settings, params: Params, reference_pictures: Pictures, later_pictures: Pictures
) -> None:
    artefact = artefact_of(tmp_path / "artefact", observe(reference_pictures, 0))
    assert settings.observations is not None
    serve(settings.observations, observe(later_pictures, 1))
    normal = check_drift(artefact, settings, params)
    assert normal.verdict.overall is Overall.STABLE, normal.verdict.reason
    assert (normal.verdict.rows, normal.verdict.model_version, normal.verdict.synthetic) == (56, 3, True)

    restained = [(shift(pixels, Shift.STAIN, 3), cell) for pixels, cell in later_pictures]
    serve(tmp_path / "elsewhere", observe(restained, 1))
    elsewhere = {"observations": tmp_path / "elsewhere", "observation_store": str(tmp_path / "elsewhere" / "store")}
    shifted = check_drift(artefact, settings.model_copy(update=elsewhere), params)
    assert shifted.verdict.overall is Overall.DRIFTED
    assert shifted.verdict.cause is Cause.STAIN, shifted.verdict.reason
    assert shifted.verdict.accuracy is None
    assert [check.verdict for check in checks(settings.drift_history)] == [normal.verdict, shifted.verdict]


def test_a_new_model_waits_for_rows_of_its_own(tmp_path: Path, settings: Settings, params: Params) -> None:
    pictures = drawn(0, 60)
    artefact = artefact_of(tmp_path / "artefact", observe(pictures, 0))
    assert settings.observations is not None
    assert check_drift(artefact, settings, params).verdict.overall is Overall.INSUFFICIENT  # nobody has asked yet
    older = [
        Observation(o.statistics, o.probabilities, o.verdict, o.embedding, Provenance("b" * 32, DATA))
        for o in observe(pictures, 1)
    ]
    serve(settings.observations, older)
    check = check_drift(artefact, settings, params)
    assert (check.verdict.overall, check.verdict.rows) == (Overall.INSUFFICIENT, 0)
    assert check.report is None
    assert "Only 0 observations" in check.page.read_text(encoding="utf-8")


@pytest.mark.parametrize("stain", [0.0, 1.0])
def test_the_report_uses_our_thresholds_and_says_what_the_verdict_says(tmp_path: Path, stain: float) -> None:
    current = live(observed(100, seed=2, stain=stain))
    check = check_window([observed(400, seed=1)], Window(current), RULE, MARKS, tmp_path)
    thresholds, failed, count = evidence(check)
    assert thresholds == {column.name: column.threshold for column in check.verdict.columns if column.name != FEATURES}
    assert failed == set(check.verdict.drifted_columns)
    assert count == len(failed)
    assert bool(failed) == bool(stain)
    assert check.report is not None
    html = check.report.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?(https?:)?//", html)
    pd.testing.assert_frame_equal(pd.read_parquet(check.folder / WINDOW), current.drop(columns="specimen"))


def test_one_drifted_column_is_enough_for_evidently_too(tmp_path: Path) -> None:
    current = live(observed(100, seed=2)).assign(width=366)  # constant there, another constant here
    check = check_window([observed(200, seed=1)], Window(current), RULE, MARKS, tmp_path)
    assert check.verdict.drifted_columns == ("width",)
    report = json.loads((check.folder / REPORT_JSON).read_bytes())
    (dataset,) = [test for test in report["tests"] if "column" not in test["metric_config"]["params"]]
    assert dataset["status"] == "FAIL"


def test_a_report_that_contradicts_the_verdict_is_refused(tmp_path: Path) -> None:
    from monitoring.report import write

    reference, current = observed(200, seed=1), live(observed(100, seed=2))
    verdict = judge(reference, current, RULE, MARKS)
    first, *others = verdict.columns
    wrong = verdict.model_copy(update={"columns": (first.model_copy(update={"drifted": True}), *others)})
    with pytest.raises(MonitoringError, match="Install the project's lock"):
        write(wrong, reference, current, tmp_path / "check")
    assert list(tmp_path.iterdir()) == []


def test_a_window_is_judged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, current = observed(200, seed=1), live(observed(20, seed=2))
    first = check_window([reference], Window(current), RULE, MARKS, tmp_path)

    def refuse(*_: object, **__: object) -> Verdict:
        raise AssertionError("judged again")

    with monkeypatch.context() as patch:
        patch.setattr("monitoring.check.judge", refuse)
        assert check_window([reference], Window(current), RULE, MARKS, tmp_path) == first
    other_rule = replace(RULE, rate=0.05)
    others = [
        check_window([reference], Window(current), other_rule, MARKS, tmp_path),
        check_window([observed(200, seed=3)], Window(current), RULE, MARKS, tmp_path),
        check_window([reference], Window(current.iloc[1:].reset_index(drop=True)), RULE, MARKS, tmp_path),
    ]
    assert len({first.folder, *(check.folder for check in others)}) == 4


def test_sites_and_smears_are_judged_by_themselves(
    tmp_path: Path, settings: Settings, params: Params, reference_pictures: Pictures, later_pictures: Pictures
) -> None:
    """Two instruments of a site, one of which stains otherwise; and one smear, at once, from what was released."""
    artefact = artefact_of(tmp_path / "artefact", observe(reference_pictures, 0))
    assert settings.observations is not None
    log = ObservationLog(settings.observations)
    restained = [(shift(pixels, Shift.STAIN, 3), cell) for pixels, cell in later_pictures]
    for name, pictures in (("A", later_pictures), ("B", restained)):
        for number, one in enumerate(observe(pictures, 1)):
            log.append([one], f"{name}-{number}", 3, origin=Origin("LAB-1", name, f"S-{name}"))
    for number, one in enumerate(observe(later_pictures[:40], 2)):
        log.append([one], f"C-{number}", 3, origin=Origin(f"X-{number}"))  # names that somebody made up
    rule = params.monitoring.model_copy(update={"apart": Apart.INSTRUMENT})
    found = check_drift(artefact, settings, params.model_copy(update={"monitoring": rule}))
    assert found.verdict.instrument == ""
    judged = {check.verdict.instrument: check.verdict for check in checks(settings.drift_history)}
    assert {name: verdict.overall for name, verdict in judged.items() if name} == {
        "A": Overall.STABLE,
        "B": Overall.DRIFTED,
    }
    assert (judged["B"].site, judged["B"].cause) == ("LAB-1", Cause.STAIN)
    # The month's false alarms are shared out over the three windows of a check.
    assert judged["A"].false_alarm_rate == pytest.approx(rule_of(params).rate / 3)


def test_history_lists_the_oldest_first_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    assert history(tmp_path / "absent").checks == []
    reference, few = observed(200, seed=1), observed(5, seed=2)
    late = check_window([reference], Window(live(few)), RULE, MARKS, tmp_path)
    early = check_window([reference], Window(live(few, seconds=0.5)), RULE, MARKS, tmp_path)
    (tmp_path / ".writing-abc").mkdir()
    (tmp_path / "20200101T000000Z-empty").mkdir()
    (tmp_path / "20200101T000000Z-other").mkdir()
    (tmp_path / "20200101T000000Z-other" / VERDICT).write_text("{}", encoding="utf-8")
    past = history(tmp_path)
    assert past.checks == [early, late]
    assert len(past.unreadable) == 2
    assert "holds no verdict" in past.unreadable[0]
    assert checks(tmp_path) == past.checks
    assert list(newest_first(tmp_path, RUN_OBSERVED)) == [late, early]
    assert list(newest_first(tmp_path, "b" * 32)) == []
    assert "The first check of this model" in early.page.read_text(encoding="utf-8")  # what is later is not its past
    later = check_window([reference], Window(live(few, seconds=2)), RULE, MARKS, tmp_path)
    assert "The last 3 checks of this model" in later.page.read_text(encoding="utf-8")


def test_a_check_killed_half_way_leaves_nothing_and_the_next_one_ends(tmp_path: Path) -> None:
    killed = """
import os, signal, sys
from pathlib import Path
import monitoring.report
from monitoring.check import check_window
from bloodyspy.store.windows import Window
from observed import live, observed, signatures
from monitoring.drift import Rule
monitoring.report.render = lambda _: os.kill(os.getpid(), signal.SIGKILL)
rule = Rule(minimum_rows=50, rate=0.01)
check_window([observed(200, seed=1)], Window(live(observed(100, seed=2))), rule, signatures(), Path(sys.argv[1]))
"""
    places = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", killed, str(tmp_path)], env={**os.environ, "PYTHONPATH": places}, timeout=300
    )
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert history(tmp_path).checks == []
    os.utime(left, (0, 0))  # long ago
    check = check_window([observed(200, seed=1)], Window(live(observed(100, seed=2))), RULE, MARKS, tmp_path)
    assert list(tmp_path.iterdir()) == [check.folder]
    assert sorted(path.name for path in check.folder.iterdir()) == sorted(
        [VERDICT, WINDOW, REPORT, REPORT_JSON, "index.html"]
    )


def test_each_check_is_a_run_in_the_workspace_that_evidently_opens(tmp_path: Path) -> None:
    """By Evidently's own means, in a process that knows nothing of ours."""
    reference, ui = observed(200, seed=1), tmp_path / "evidently"
    windows = [Window(live(observed(100, seed=2, stain=hour), START + timedelta(hours=hour))) for hour in (0, 1)]
    found = [check_window([reference], window, RULE, MARKS, tmp_path, ui=ui) for window in windows]
    for path in found[0].folder.iterdir():
        path.unlink()
    found[0].folder.rmdir()  # as if killed before it was in its place: judged again, it is the same run
    check_window([reference], windows[0], RULE, MARKS, tmp_path, ui=ui)
    looked = """
import json, sys, warnings
warnings.simplefilter("ignore")
from evidently.ui.workspace import Workspace
workspace = Workspace(sys.argv[1])
(project,) = workspace.list_projects()
runs = [workspace.get_run(project.id, run) for run in workspace.list_runs(project.id)]
told = sorted((run.timestamp.isoformat(), run.name, run.metadata["verdict"]) for run in runs)
panels = project.dashboard.model().panels
panels = [(panel.title, [value.metric_labels["column"] for value in panel.values]) for panel in panels]
shares = {result.metric_value_location.metric.params.get("column"): result.value for run in runs for result in
          run.metric_results.values() if run.metadata["verdict"] == "drifted" and hasattr(result, "value")}
assert not [name for name in sys.modules if name.startswith("monitoring")]
print(json.dumps([project.name, told, panels, shares]))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", looked, str(ui)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    name, told, panels, shares = json.loads(done.stdout.splitlines()[-1])
    assert name == f"Drift of version 3, run {RUN_OBSERVED[:8]}"
    assert [run[1:] for run in told] == [["stable", "stable"], [f"drifted, {found[1].verdict.cause}", "drifted"]]
    assert told[1][0].startswith("2026-11-23T00:56:39")  # the window's end
    verdict = found[1].verdict
    assert shares["share of drifted columns"] == pytest.approx(len(verdict.drifted_columns) / len(verdict.columns))
    assert [column for _, columns in panels for column in columns if column not in shares] == []


@pytest.mark.parametrize("broken", ["a file", "half a project"])
def test_a_broken_workspace_fails_no_check(tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: str) -> None:
    from monitoring.workspace import project_of

    ui, window = tmp_path / "evidently", Window(live(observed(100, seed=2)))
    if broken == "a file":
        ui.write_text("in the way")
    else:
        (ui / str(project_of(RUN_OBSERVED))).mkdir(parents=True)
        (ui / str(project_of(RUN_OBSERVED)) / "snapshots").write_text("in the way")
    check = check_window([observed(200, seed=1)], window, RULE, MARKS, tmp_path / "drift", ui=ui)
    assert check.page.exists()
    assert "not in Evidently's workspace" in caplog.text


def test_what_is_compared_as_a_whole_is_in_the_report_and_under_the_same_guard(tmp_path: Path) -> None:
    from monitoring.report import write

    reference, current = observed(200, seed=1), live(observed(100, seed=2))
    verdict = judge(reference, current, RULE, MARKS)
    far, others = column("embedding", 1.3), [one for one in verdict.columns if one.name != "embedding"]
    drifted = verdict.model_copy(update={"columns": (far, *others), "overall": Overall.DRIFTED})
    check = write(drifted, reference, current, tmp_path / "far")
    _, failed, _ = evidence(check)
    assert failed == {"embedding"}
    near = drifted.model_copy(update={"columns": (far.model_copy(update={"drifted": False}), *others)})
    with pytest.raises(MonitoringError, match="embedding"):
        write(near, reference, current, tmp_path / "near")


def test_the_verdict_needs_no_evidently() -> None:
    code = "import sys, monitoring.check; assert not {'evidently', 'plotly', 'sklearn', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=120)


def real_pictures(folder: Path, skip: int, per_class: int) -> Iterator[tuple[NDArray[np.uint8], CellType]]:
    for cell in CELL_TYPES:
        paths = sorted(path for path in (folder / cell).glob("*.jpg") if not path.name.startswith("."))
        # File numbers follow the patients: neighbours are alike, so the sample is spread over the folder.
        for path in np.random.default_rng(cell.position).permutation(paths)[skip : skip + per_class]:
            yield decode(Path(path).read_bytes()).pixels, cell


@pytest.mark.real
def test_real_pictures_come_out_stable_and_shifted_or_foreign_ones_drifted(
    real_data: Path,
) -> None:
    reference = pd.DataFrame(rows(observe(list(real_pictures(real_data / "pbc", 0, 30)), 0)))
    later = list(real_pictures(real_data / "pbc", 30, 15))
    marks = of_pictures([pixels for pixels, _ in real_pictures(real_data / "pbc", 60, 2)])
    assert len(reference) == 240

    def verdict(pictures: Pictures) -> Verdict:
        return judge(reference, live(pd.DataFrame(rows(observe(pictures, 1)))), RULE, marks)

    normal = verdict(later)
    assert normal.overall is Overall.STABLE, normal.reason
    expected = {Shift.STAIN: Cause.STAIN, Shift.BLUR: Cause.FOCUS, Shift.ILLUMINATION: Cause.EXPOSURE}
    for kind, cause in expected.items():
        shifted = verdict([(shift(pixels, kind, 3), cell) for pixels, cell in later])
        assert shifted.cause is cause, (kind, shifted.reason)
    bccd = real_data / "other-labs" / "bccd"
    foreign = [(decode(path.read_bytes()).pixels, CellType.LYMPHOCYTE) for path in sorted(bccd.rglob("*.*"))[::5]]
    assert len(foreign) >= 50
    assert "width" in verdict(foreign).drifted_columns
