"""One whole drift check: what the flow, the command line and the lifecycle call."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd
from cronsim import CronSim, CronSimError

from bloodyspy.errors import MonitoringError
from bloodyspy.loop_rule import OFF
from bloodyspy.model.artifact import REFERENCE, Artefact
from bloodyspy.model.release import read_release
from bloodyspy.model.signatures import Signatures
from bloodyspy.observation import ANSWERED, COLUMNS, NOWHERE, Origin
from bloodyspy.params import Apart, Params
from bloodyspy.settings import Settings
from bloodyspy.store import streams
from bloodyspy.store.windows import Wanted, Window
from monitoring import pictures
from monitoring.accuracy import Calibrated
from monitoring.drift import Rule, judge
from monitoring.history import VERDICT, Check, check_name, read_check
from monitoring.pictures import Album
from monitoring.preparations import known, nearest
from monitoring.verdict import Verdict

MOST = 20
"""Sites or instruments that one check judges by themselves."""

_HOURLY, _MONTH = "0 * * * *", timedelta(days=30)
_LARGEST_RATE = 0.05
"""Of one window: however seldom is asked, an alarm should mean something."""


def check_drift(artefact: Artefact, s: Settings, p: Params) -> Check:
    """Collect, judge the newest observations of a model against its own reference, and keep what was found.

    Where ``monitoring.apart`` says so, the newest of each site or instrument are judged by themselves as well.
    A window that was judged before, by the same rule, is not judged again: its check is returned.

    Args:
        artefact: the champion's.
        s: where the logs, their store and the history of checks are.
        p: size of the window, least number of rows, false alarms a month.

    Returns:
        The check of all together.

    Raises:
        MonitoringError: log, store or reference cannot be read, or the store cannot be written.
    """
    preparations = known(read_reference(artefact), rule_of(p), s.thresholds)
    newest = window_of(artefact, s, p)
    # Clients choose these names: one of few rows is not judged, so it takes no false alarm away from the others either.
    windows = {origin: window_of(artefact, s, p, origin) for origin in origins_in(newest.frame, p.monitoring.apart)}
    apart = {origin: one for origin, one in windows.items() if len(one.frame) >= p.monitoring.minimum_rows}
    kept = partial(
        check_window,
        preparations,
        rule=rule_of(p, len(apart) + 1),
        signatures=Signatures.read(artefact.path),
        history=s.drift_history,
        calibrated=Calibrated.of(artefact),
        thresholds=s.thresholds,
        synthetic=artefact.spec.synthetic,
        album=pictures.album(artefact, s),
        ui=s.evidently,
    )
    for origin, window in apart.items():
        kept(window, origin=origin)
    return kept(newest)


def judge_now(
    s: Settings,
    p: Params,
    origin: Origin = NOWHERE,
    *,
    rows: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Verdict:
    """Collect, and judge any window of the observations of the model that the service was told to serve.

    Args:
        s: where things are.
        p: least number of rows, false alarms a month.
        origin: of one site, instrument or smear; nowhere for all.
        rows: the newest so many; None for all.
        since, until: times with a zone; the latter is left out.

    Raises:
        ModelUnavailable: nothing is released.
        MonitoringError: log, store or reference cannot be read, or the store cannot be written.
    """
    assert s.bentoml_home is not None  # Settings fills it in
    artefact = Artefact.open(s.bentoml_home / read_release(s.release).path)
    named = {name: value or None for name, value in asdict(origin).items()}
    window = streams.live(s).newest(Wanted(run_id=artefact.spec.run_id, since=since, until=until, **named), rows)
    rule = rule_of(p)
    preparations = known(read_reference(artefact), rule, s.thresholds)
    return judge(
        nearest(preparations, window.frame, rule, s.thresholds),
        window.frame,
        rule,
        Signatures.read(artefact.path),
        calibrated=Calibrated.of(artefact),
        thresholds=s.thresholds,
        origin=origin,
        synthetic=artefact.spec.synthetic,
        torn_lines=window.unreadable.torn,
        corrupt_lines=window.unreadable.corrupt,
    )


def rule_of(p: Params, windows: int = 1) -> Rule:
    """The rule for one of the windows of a check.

    By linearity of expectation n windows that each alarm falsely with probability r give n r false alarms, however much
    they overlap; so the month's number is shared out evenly.

    Args:
        p: least number of rows, false alarms a month, and the schedule of the checks.
        windows: that one check judges.

    Raises:
        MonitoringError: the schedule is no cron line.
    """
    line = p.schedules.check_drift
    if line == OFF:
        line = _HOURLY  # by hand, and by who knows what clock
    start = datetime(2026, 1, 1, tzinfo=UTC)
    checks = 0
    try:
        for moment in CronSim(line, start):
            if moment > start + _MONTH:
                break
            checks += 1
    except CronSimError as exc:
        raise MonitoringError(f"schedules.check_drift in params.yaml is no cron line: {line!r} ({exc}).") from exc
    rate = p.monitoring.false_alarms / (max(1, checks) * windows)
    return Rule(p.monitoring.minimum_rows, min(_LARGEST_RATE, rate))


def window_of(artefact: Artefact, s: Settings, p: Params, origin: Origin = NOWHERE) -> Window:
    """The newest observations of a model, of one site or instrument or of all.

    Raises:
        MonitoringError: log or store cannot be read, or the store cannot be written.
    """
    hours = p.monitoring.hours
    since = None if hours is None else datetime.now(UTC) - timedelta(hours=hours)
    wanted = Wanted(
        run_id=artefact.spec.run_id, since=since, site=origin.site or None, instrument=origin.instrument or None
    )
    return streams.live(s).newest(wanted, p.monitoring.window)


def origins_in(frame: pd.DataFrame, apart: Apart) -> tuple[Origin, ...]:
    """The sites, or the instruments of each site, that a window's rows name; at most :data:`MOST`, of the most rows."""
    if apart is Apart.NONE:
        return ()
    names = ["site"] if apart is Apart.SITE else ["site", "instrument"]
    named = frame.loc[(frame[names] != "").any(axis=1), names].value_counts()
    return tuple(Origin(*row) for row in named.index[:MOST])


def check_window(
    preparations: Sequence[pd.DataFrame],
    window: Window,
    rule: Rule,
    signatures: Signatures,
    history: Path,
    *,
    calibrated: Calibrated | None = None,
    thresholds: Path | None = None,
    origin: Origin = NOWHERE,
    synthetic: bool = False,
    album: Album = pictures.NONE,
    ui: Path | None = None,
) -> Check:
    """Judge one window and keep what was found in a folder of its own below ``history``.

    Args:
        preparations: references; the window is held against the nearest.
        window, rule, signatures, calibrated, thresholds, origin, synthetic: as :func:`monitoring.drift.judge` takes
            them.
        history: the folder of checks.
        album: where the pictures of the page come from.
        ui: workspace of Evidently's UI; None for none.
    """
    reference = nearest(preparations, window.frame, rule, thresholds)
    folder = history / check_name(reference, window.frame, rule, origin)
    if (folder / VERDICT).exists():
        return read_check(folder)
    verdict = judge(
        reference,
        window.frame,
        rule,
        signatures,
        calibrated=calibrated,
        thresholds=thresholds,
        origin=origin,
        synthetic=synthetic,
        torn_lines=window.unreadable.torn,
        corrupt_lines=window.unreadable.corrupt,
    )
    # Evidently takes 4 to 14 seconds to import: whoever asks for a window that was judged already does not wait for it.
    from monitoring.report import write

    return write(verdict, reference, window.frame, folder, album, ui)


def read_reference(artefact: Artefact) -> pd.DataFrame:
    """The observations of held-out pictures that travel inside an artefact: COLUMNS, and ANSWERED where it has it.

    Raises:
        MonitoringError: the table cannot be read or lacks a column.
    """
    path = artefact.path / REFERENCE
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as exc:
        raise MonitoringError(f"{path} is no table of observations: {exc}. Run `dvc repro` again.") from exc
    if missing := [name for name in COLUMNS if name not in frame]:
        raise MonitoringError(f"{path} lacks {', '.join(missing)}. Assemble the model again with `dvc repro`.")
    return frame[[name for name in (*COLUMNS, ANSWERED) if name in frame]]
