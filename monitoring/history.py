"""Past checks: one folder each, complete or not there.

=====================  ======================================================================
``index.html``         the verdict for a person
``verdict.json``       the verdict for programs (:class:`monitoring.verdict.Verdict`)
``window.parquet``     the observations that were judged, without ids of specimens: no erasure reaches this far
``report.html``        Evidently's report, where there was enough to judge
``report.json``        the same for programs
``pictures.json``      which kept images the page shows, where it shows any (:mod:`monitoring.pictures`)
``told-…``             an empty file for each address that was told of an alarm (:mod:`monitoring.notification`)
=====================  ======================================================================
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from bloodyspy.errors import MonitoringError
from bloodyspy.observation import Origin
from monitoring.drift import Rule
from monitoring.thresholds import content_digest
from monitoring.verdict import Verdict

logger = logging.getLogger(__name__)

PAGE, VERDICT, WINDOW = "index.html", "verdict.json", "window.parquet"
REPORT, REPORT_JSON = "report.html", "report.json"


@dataclass(frozen=True, slots=True)
class Check:
    """One check and where it is kept."""

    folder: Path
    verdict: Verdict

    @property
    def page(self) -> Path:
        """The page for a person."""
        return self.folder / PAGE

    @property
    def report(self) -> Path | None:
        """Evidently's report; None where there was too little to judge."""
        report = self.folder / REPORT
        return report if report.exists() else None


@dataclass(frozen=True, slots=True)
class History:
    """Everything that a history folder holds."""

    checks: list[Check]
    """The oldest window first."""
    unreadable: list[str]
    """What looks like a check and cannot be read, each with its fault, in words."""


def history(folder: Path) -> History:
    """Read every check below a folder; a folder that is not there holds none."""
    found: list[Check] = []
    unreadable: list[str] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or not path.is_dir():
            continue  # a check that is being written
        try:
            found.append(read_check(path))
        except MonitoringError as exc:
            unreadable.append(str(exc))
    found.sort(key=lambda check: (check.verdict.end or check.verdict.checked, check.verdict.checked))
    return History(found, unreadable)


def checks(folder: Path) -> list[Check]:
    """Past checks, the oldest window first; the unreadable ones are logged."""
    past = history(folder)
    for fault in past.unreadable:
        logger.warning("%s", fault)
    return past.checks


def newest_first(folder: Path, run_id: str) -> Iterator[Check]:
    """Checks of one model, read one by one as they are asked for, so that a long history costs little.

    Names sort by time (:func:`check_name`). What cannot be read is left out.
    """
    for path in sorted(folder.glob(f"[!.]*-{run_id[:8]}-*"), reverse=True):
        try:
            yield read_check(path)
        except MonitoringError as exc:
            logger.warning("%s", exc)


def newest_checks(folder: Path, count: int) -> list[Check]:
    """The newest of the readable checks of all pictures together, the oldest window first.

    Those of a site or an instrument are passed over. It costs what is asked for, however many there are.
    """
    found: list[Check] = []
    for path in sorted(folder.glob("[!.]*/"), reverse=True) if folder.is_dir() else []:
        if len(found) == count:
            break
        try:
            check = read_check(path)
        except MonitoringError as exc:
            logger.warning("%s", exc)
            continue
        if not (check.verdict.site or check.verdict.instrument):
            found.append(check)
    return found[::-1]


def read_check(folder: Path) -> Check:
    """One check.

    Raises:
        MonitoringError: the folder holds no readable verdict.
    """
    try:
        verdict = Verdict.model_validate_json((folder / VERDICT).read_bytes())
    except OSError as exc:
        raise MonitoringError(f"{folder} holds no verdict ({exc.strerror}). Delete the folder.") from exc
    except ValidationError as exc:
        raise MonitoringError(
            f"{folder / VERDICT} is no verdict of this version ({exc.error_count()} faults). Delete the folder."
        ) from exc
    return Check(folder, verdict)


def check_name(reference: pd.DataFrame, current: pd.DataFrame, rule: Rule, origin: Origin) -> str:
    """Folder name of the check of one window: when the window ends, whose it is, and a digest of all that decides.

    The same window held against the same reference by the same rule has the same name, so it is judged and told once,
    however often the clock asks. Names sort by time.
    """
    told = f"{rule}{origin}{content_digest(reference)}{content_digest(current)}"
    digest = hashlib.sha256(told.encode())
    end = f"{current['time'].iloc[-1]:%Y%m%dT%H%M%SZ}" if len(current) else "no-rows"
    return f"{end}-{str(reference['run_id'].iloc[0])[:8]}-{digest.hexdigest()[:12]}"
