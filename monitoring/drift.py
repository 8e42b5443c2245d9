"""The verdict on one window of observations. Computed directly, so that it is cheap enough for every window."""

from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum

import pandas as pd
from pydantic import BaseModel, ConfigDict

from bloodyspy.errors import MonitoringError
from bloodyspy.params import Monitoring
from monitoring.thresholds import CASE_MIX, JUDGED, MEASURED, calibrate, distances


class Overall(StrEnum):
    """What a check says."""

    STABLE = "stable"
    DRIFTED = "drifted"
    INSUFFICIENT = "insufficient"


class Kind(StrEnum):
    """What is compared."""

    OPTICS = "optics"
    """Image statistics, within the predicted type."""
    NETWORK = "network"
    """What the network sees: embedding, novelty, confidence, within the predicted type."""
    CASE_MIX = "case mix"
    """Shares of the predicted types."""


class Cause(StrEnum):
    """The probable cause, one a verdict."""

    STAIN = "stain"
    EXPOSURE = "exposure"
    FOCUS = "focus"
    SIZE = "size"
    CONTENT = "content"
    """The cells look otherwise to the network though the pictures measure as before."""
    CASE_MIX = "case mix"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Accuracy(_Frozen):
    """Label-free estimate of the share of right answers in a window, with its 95 % interval."""

    value: float
    low: float
    high: float


class ColumnVerdict(_Frozen):
    """One column of a window against the reference."""

    name: str
    kind: Kind
    statistic: float
    """Kolmogorov-Smirnov statistic, or total variation distance of the predicted classes; 0 to 1."""
    threshold: float
    drifted: bool
    reference: float | str
    """Mean in the reference; for the predicted class, its most frequent value with its share."""
    current: float | str
    """The same in the window."""

    @property
    def ratio(self) -> float:
        """Statistic over threshold: above 1 is drift."""
        return self.statistic / self.threshold


class Verdict(_Frozen):
    """What one check found."""

    overall: Overall
    cause: Cause | None = None
    """None unless drifted."""
    reason: str
    """One sentence for a person."""
    rows: int
    """Of the window."""
    start: datetime | None
    """Time of the window's oldest row; None where it has none."""
    end: datetime | None
    columns: tuple[ColumnVerdict, ...]
    """The furthest from normal first; empty where the verdict is `insufficient`."""
    reference_rows: int
    false_alarm_rate: float
    """Of the overall verdict, for one window."""
    run_id: str
    data_version: str
    model_version: int | None
    """Version in the registry, as the newest row of the window tells it."""
    synthetic: bool
    """Whether the model was trained on drawn cells."""
    accuracy: Accuracy | None = None
    accuracy_withheld: str = ""
    """Why there is no number; empty where there is one."""
    site: str = ""
    instrument: str = ""
    """Empty: all."""
    torn_lines: int = 0
    """Lines at the end of a log file that were not complete when the window was read."""
    corrupt_lines: int = 0
    """Other lines of the log that are no observation."""
    checked: datetime
    """When the verdict was reached."""

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Names of the columns over their thresholds, the furthest first."""
        return tuple(column.name for column in self.columns if column.drifted)

    @property
    def drifted_kinds(self) -> tuple[Kind, ...]:
        """Kinds of the columns over their thresholds, the furthest first."""
        return tuple(dict.fromkeys(column.kind for column in self.columns if column.drifted))


def judge(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    monitoring: Monitoring,
    *,
    synthetic: bool = False,
    torn_lines: int = 0,
    corrupt_lines: int = 0,
) -> Verdict:
    """Hold a window against the reference of the model that answered.

    A change of patients moves the predicted classes, and with them the image statistics, as well as a fault of stain or
    optics does; this verdict names the columns but does not separate the causes.

    Args:
        reference: observations of held-out pictures, with COLUMNS, of one model.
        current: the window, with COLUMNS and LIVE_COLUMNS, sorted by time, of the same model.
        monitoring: least number of rows, and false-alarm rate.
        synthetic: whether the model was trained on drawn cells.
        torn_lines, corrupt_lines: what the reader of the window left out.

    Raises:
        MonitoringError: the reference is empty, or the rows come from several models.
    """
    if reference.empty:
        raise MonitoringError("The model's reference has no rows. Assemble the model again with `dvc repro`.")
    models = {*reference["run_id"].unique(), *current["run_id"].unique()}
    if len(models) > 1:
        raise MonitoringError(
            f"Observations of {len(models)} models cannot be judged together ({', '.join(sorted(models))}). "
            "Read the window with the run id of the reference's model."
        )
    columns: tuple[ColumnVerdict, ...] = ()
    least = monitoring.minimum_rows
    if len(current) < least:
        overall = Overall.INSUFFICIENT
        reason = f"Only {len(current)} observations of this model; at least {least} are needed to judge."
    elif len(reference) < least:
        overall = Overall.INSUFFICIENT
        reason = f"The model's reference has only {len(reference)} rows; at least {least} are needed to judge."
    else:
        columns = _judge_columns(reference, current, monitoring.false_alarm_rate)
        overall = Overall.DRIFTED if any(column.drifted for column in columns) else Overall.STABLE
        reason = _reason(columns, len(current))
    times = current["time"]
    return Verdict(
        overall=overall,
        cause=_cause(columns) if overall is Overall.DRIFTED else None,
        reason=reason,
        rows=len(current),
        start=times.iloc[0].to_pydatetime() if len(current) else None,
        end=times.iloc[-1].to_pydatetime() if len(current) else None,
        columns=columns,
        reference_rows=len(reference),
        false_alarm_rate=monitoring.false_alarm_rate,
        run_id=str(reference["run_id"].iloc[0]),
        data_version=str(reference["data_version"].iloc[0]),
        model_version=int(current["model_version"].iloc[-1]) if len(current) else None,
        synthetic=synthetic,
        torn_lines=torn_lines,
        corrupt_lines=corrupt_lines,
        checked=datetime.now(UTC),
    )


def _judge_columns(reference: pd.DataFrame, current: pd.DataFrame, rate: float) -> tuple[ColumnVerdict, ...]:
    thresholds = calibrate(reference, len(current), rate)
    found = distances(reference, current)
    columns = [
        ColumnVerdict(
            name=name,
            kind=_kind(name),
            statistic=found[name],
            threshold=thresholds[name],
            drifted=found[name] > thresholds[name],
            reference=_centre(reference[name]),
            current=_centre(current[name]),
        )
        for name in JUDGED
    ]
    return tuple(sorted(columns, key=lambda column: column.ratio, reverse=True))


def _kind(name: str) -> Kind:
    return Kind.CASE_MIX if name == CASE_MIX else Kind.OPTICS if name in MEASURED else Kind.NETWORK


def _cause(columns: tuple[ColumnVerdict, ...]) -> Cause:
    kinds = {column.kind for column in columns if column.drifted}
    return Cause.STAIN if Kind.OPTICS in kinds else Cause.CASE_MIX if Kind.CASE_MIX in kinds else Cause.CONTENT


def _centre(column: pd.Series) -> float | str:
    if column.name != CASE_MIX:
        return float(column.mean())
    name, count = Counter(column).most_common(1)[0]
    return f"{name} {count / len(column):.0%}"


def _reason(columns: tuple[ColumnVerdict, ...], rows: int) -> str:
    moved = [column for column in columns if column.drifted]
    if not moved:
        nearest = columns[0]
        return (
            f"No column of {rows} observations is over its threshold; "
            f"nearest is {nearest.name} at {nearest.ratio:.0%} of it."
        )
    if [column.name for column in moved] == [CASE_MIX]:
        return (
            f"Only the predicted classes moved, by {moved[0].statistic:.0%} of the pictures: other patients look like "
            "this, and so does a network that errs; the pictures themselves measure as before."
        )
    first = next(column for column in moved if column.name in MEASURED)
    others = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
    mix = "; the predicted classes moved too, so rule out a change of patients first"
    return (
        f"{len(moved)} of {len(columns)} columns moved, {first.name} from a mean of {first.reference:.4g} to "
        f"{first.current:.4g}{others}{mix if CASE_MIX in [column.name for column in moved] else ''}."
    )
