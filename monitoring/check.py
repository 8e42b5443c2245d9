"""One whole drift check: what the flow, the command line and the lifecycle call."""

from pathlib import Path

import pandas as pd

from bloodyspy.errors import MonitoringError
from bloodyspy.model.artifact import REFERENCE, Artefact
from bloodyspy.observation import COLUMNS
from bloodyspy.params import Monitoring, Params
from bloodyspy.settings import Settings
from bloodyspy.store import streams
from bloodyspy.store.windows import Wanted, Window
from monitoring import pictures
from monitoring.drift import judge
from monitoring.history import VERDICT, Check, check_name, read_check
from monitoring.pictures import Album


def check_drift(artefact: Artefact, s: Settings, p: Params) -> Check:
    """Collect, judge the newest observations of a model against its own reference, and keep what was found.

    A window that was judged before, by the same rule, is not judged again: its check is returned.

    Args:
        artefact: the champion's.
        s: where the logs, their store and the history of checks are.
        p: size of the window, least number of rows, false-alarm rate.

    Raises:
        MonitoringError: log, store or reference cannot be read, or the store cannot be written.
    """
    reference = read_reference(artefact)
    window = streams.live(s).newest(Wanted(run_id=artefact.spec.run_id), p.monitoring.window)
    return check_window(
        reference,
        window,
        p.monitoring,
        s.drift_history,
        synthetic=artefact.spec.synthetic,
        album=pictures.album(artefact, s),
        ui=s.evidently,
    )


def check_window(
    reference: pd.DataFrame,
    window: Window,
    monitoring: Monitoring,
    history: Path,
    *,
    synthetic: bool = False,
    album: Album = pictures.NONE,
    ui: Path | None = None,
) -> Check:
    """Judge one window and keep what was found in a folder of its own below ``history``.

    Args:
        reference, window, monitoring, synthetic: as :func:`monitoring.drift.judge` takes them.
        history: the folder of checks.
        album: where the pictures of the page come from.
        ui: workspace of Evidently's UI; None for none.
    """
    folder = history / check_name(reference, window.frame, monitoring)
    if (folder / VERDICT).exists():
        return read_check(folder)
    verdict = judge(
        reference,
        window.frame,
        monitoring,
        synthetic=synthetic,
        torn_lines=window.unreadable.torn,
        corrupt_lines=window.unreadable.corrupt,
    )
    # Evidently takes 4 to 14 seconds to import: whoever asks for a window that was judged already does not wait for it.
    from monitoring.report import write

    return write(verdict, reference, window.frame, folder, album, ui)


def read_reference(artefact: Artefact) -> pd.DataFrame:
    """The observations of held-out pictures that travel inside an artefact, with COLUMNS.

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
    return frame[list(COLUMNS)]
