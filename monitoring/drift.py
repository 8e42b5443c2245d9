"""The verdict on one window of observations. Computed directly, so that it is cheap enough for every window."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import MonitoringError
from bloodyspy.model.signatures import Signatures
from bloodyspy.observation import NOWHERE, Origin
from monitoring.accuracy import Accuracy, Calibrated
from monitoring.causes import SAID, Cause, Marks, Match, listed
from monitoring.thresholds import CASE_MIX, FEATURES, JUDGED, OPTICS, SEEN, Comparison, Thresholds

_CUT = ("width", "height")
_BEFORE, _ELSEWHERE = "as before", "elsewhere"


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
    """What the network sees: embedding, novelty, confidence; within the predicted type."""
    CASE_MIX = "case mix"
    """Shares of the predicted types."""


KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(OPTICS, Kind.OPTICS),
    **dict.fromkeys((*SEEN, FEATURES), Kind.NETWORK),
    CASE_MIX: Kind.CASE_MIX,
}
"""Of each judged distance."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a window is judged."""

    minimum_rows: int
    """Fewer, of the window or the reference, are `insufficient`."""
    rate: float
    """Share of windows without any change that may be called drifted."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnVerdict(_Frozen):
    """One distance of a window from the reference."""

    name: str
    """A column; ``embedding`` for what the network sees; ``predicted`` for the shares of the types."""
    kind: Kind
    statistic: float
    """Kolmogorov's distance within types, maximum mean discrepancy, or total variation distance; 0 to about 1."""
    threshold: float
    drifted: bool
    reference: float | str
    """Mean in the reference, at the window's mix of types; of the types, the one that moved most with its share."""
    current: float | str
    """The same in the window. Of the embedding, in words."""

    @property
    def ratio(self) -> float:
        """Statistic over threshold: above 1 is drift."""
        return self.statistic / self.threshold


class Verdict(_Frozen):
    """What one check found."""

    overall: Overall
    cause: Cause | None
    """The probable one; None where nothing drifted."""
    reason: str
    """One sentence for a person."""
    rows: int
    """Of the window."""
    start: datetime | None
    """Time of the window's oldest row; None where it has none."""
    end: datetime | None
    columns: tuple[ColumnVerdict, ...]
    """The furthest from normal first; empty where the verdict is `insufficient`."""
    accuracy: Accuracy | None
    """Estimated without labels."""
    accuracy_withheld: str
    """Why there is no such estimate; empty where there is one."""
    reference_rows: int
    false_alarm_rate: float
    """Of the overall verdict, for one window."""
    run_id: str
    data_version: str
    model_version: int | None
    """Version in the registry, as the newest row of the window tells it."""
    site: str
    """Whose pictures alone were judged; empty for all."""
    instrument: str
    synthetic: bool
    """Whether the model was trained on drawn cells."""
    torn_lines: int = 0
    """Lines at the end of a log file that were not complete when the window was read."""
    corrupt_lines: int = 0
    """Other lines of the log that are no observation."""
    checked: datetime
    """When the verdict was reached."""

    @property
    def drifted_columns(self) -> tuple[str, ...]:
        """Names of the distances over their thresholds, the furthest first."""
        return tuple(column.name for column in self.columns if column.drifted)

    @property
    def drifted_kinds(self) -> tuple[Kind, ...]:
        """Kinds with a distance over its threshold, in their order of declaration."""
        drifted = {column.kind for column in self.columns if column.drifted}
        return tuple(kind for kind in Kind if kind in drifted)


def judge(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    rule: Rule,
    signatures: Signatures,
    *,
    calibrated: Calibrated | None = None,
    thresholds: Path | None = None,
    origin: Origin = NOWHERE,
    synthetic: bool = False,
    torn_lines: int = 0,
    corrupt_lines: int = 0,
) -> Verdict:
    """Hold a window against the reference of the model that answered.

    Args:
        reference: observations of held-out pictures, with COLUMNS, of one model.
        current: the window, with COLUMNS and LIVE_COLUMNS, sorted by time, of the same model.
        rule: least number of rows, and false-alarm rate.
        signatures: the marks of known faults, of the same model.
        calibrated: how good the model's probabilities are; without it the accuracy is not estimated.
        thresholds: folder where thresholds are kept; without it they are made anew.
        origin: whose pictures the window holds; nowhere for all.
        synthetic: whether the model was trained on drawn cells.
        torn_lines, corrupt_lines: what the reader of the window left out.

    Raises:
        MonitoringError: the reference is empty or cannot be compared with, or the rows come from several models.
    """
    if reference.empty:
        raise MonitoringError("The model's reference has no rows. Assemble the model again with `dvc repro`.")
    models = {*reference["run_id"].unique(), *current["run_id"].unique()}
    if len(models) > 1:
        raise MonitoringError(
            f"Observations of {len(models)} models cannot be judged together ({', '.join(sorted(models))}). "
            "Read the window with the run id of the reference's model."
        )
    found = NOTHING
    least = rule.minimum_rows
    if len(current) < least:
        overall = Overall.INSUFFICIENT
        reason = f"Only {len(current)} observations of this model; at least {least} are needed to judge."
    elif len(reference) < least:
        overall = Overall.INSUFFICIENT
        reason = f"The model's reference has only {len(reference)} rows; at least {least} are needed to judge."
    else:
        comparison = Comparison(reference)
        if thresholds is None:
            known = Thresholds.calibrate(comparison, len(current))
        else:
            known = Thresholds.kept(comparison, reference, len(current), thresholds)
        found = find(comparison, known, Marks(signatures, reference), current, rule.rate)
        overall = Overall.STABLE if found.cause is None else Overall.DRIFTED
        reason = found.reason(len(current))
    accuracy, withheld = _accuracy(current, calibrated, overall, found)
    times = current["time"]
    return Verdict(
        overall=overall,
        cause=found.cause,
        reason=reason,
        rows=len(current),
        start=times.iloc[0].to_pydatetime() if len(current) else None,
        end=times.iloc[-1].to_pydatetime() if len(current) else None,
        columns=found.columns,
        accuracy=accuracy,
        accuracy_withheld=withheld,
        reference_rows=len(reference),
        false_alarm_rate=rule.rate,
        run_id=str(reference["run_id"].iloc[0]),
        data_version=str(reference["data_version"].iloc[0]),
        model_version=int(current["model_version"].iloc[-1]) if len(current) else None,
        site=origin.site,
        instrument=origin.instrument,
        synthetic=synthetic,
        torn_lines=torn_lines,
        corrupt_lines=corrupt_lines,
        checked=datetime.now(UTC),
    )


@dataclass(frozen=True, slots=True)
class Found:
    """How far a window is from a reference, and what has probably changed."""

    columns: tuple[ColumnVerdict, ...]
    """The furthest from normal first."""
    match: Match | None
    """The fault that the window is most like."""

    @property
    def cause(self) -> Cause | None:
        """None where nothing is over its threshold."""
        if moved := self.moved(Kind.OPTICS):
            return Cause.SIZE if self.match is None or set(moved) <= set(_CUT) else self.match.cause
        if self.moved(Kind.NETWORK):
            return Cause.CONTENT
        return Cause.CASE_MIX if self.moved(Kind.CASE_MIX) else None

    def moved(self, kind: Kind) -> list[str]:
        """Names of the distances of one kind that are over their thresholds."""
        return [column.name for column in self.columns if column.drifted and column.kind is kind]

    def reason(self, rows: int) -> str:
        """One sentence for a person."""
        cause = self.cause
        if cause is None:
            nearest = self.columns[0]
            return (
                f"Nothing in {rows} observations is over its threshold; nearest is {nearest.name} at "
                f"{nearest.ratio:.0%} of it."
            )
        mix = next(column for column in self.columns if column.name == CASE_MIX)
        shares = f"{mix.reference} in the reference, {str(mix.current).rsplit(' ', 1)[1]} now"
        if cause is Cause.CASE_MIX:
            return (
                f"Only the mix of predicted types changed ({shares}): other patients look like this, and so does a "
                "network that errs; within each type the pictures measure as before."
            )
        also = f"; the mix of predicted types changed too ({shares})" if mix.drifted else ""
        seen, moved = self.moved(Kind.NETWORK), self.moved(Kind.OPTICS)
        if cause is Cause.CONTENT:
            return (
                f"The network sees other cells than it was measured on ({listed(seen)}), though within each type the "
                f"pictures measure as before{also}."
            )
        like = "nearest is" if cause is Cause.OTHER else "most like"
        named = "" if self.match is None or set(moved) <= set(_CUT) else str(self.match.fault).replace("_", " ")
        fault = f", {like} {named}" if named else ""
        otherwise = ", and the network sees them otherwise" if seen else ""
        return (
            f"{SAID[cause]}{fault}: within each predicted type {len(moved)} of {len(OPTICS)} measures of the pictures "
            f"moved ({listed(moved)}){otherwise}{also}."
        )


NOTHING = Found((), None)
"""Of a window that was not compared."""


def find(comparison: Comparison, known: Thresholds, marks: Marks, current: pd.DataFrame, rate: float) -> Found:
    """Hold a window against a reference that was made ready.

    Args:
        comparison: of the reference.
        known: its thresholds for windows of this size.
        marks: of known faults, in the reference's own measure.
        current: the window, with the columns of an observation.
        rate: share of windows without any change that may have a distance over its threshold.
    """
    thresholds, distances = known.of(comparison, current, rate), comparison.distances(current)
    expected: dict[str, float | str] = {**comparison.expected(current), FEATURES: _BEFORE}
    seen: dict[str, float | str] = {name: float(current[name].mean()) for name in (*OPTICS, *SEEN)}
    seen[FEATURES] = _ELSEWHERE if distances[FEATURES] > thresholds[FEATURES] else _BEFORE
    expected[CASE_MIX], seen[CASE_MIX] = _moved_type(comparison.counts, current[CASE_MIX])
    columns = [
        ColumnVerdict(
            name=name,
            kind=KINDS[name],
            statistic=distances[name],
            threshold=thresholds[name],
            drifted=distances[name] > thresholds[name],
            reference=expected[name],
            current=seen[name],
        )
        for name in JUDGED
    ]
    ordered = tuple(sorted(columns, key=lambda column: column.ratio, reverse=True))
    return Found(ordered, marks.nearest(comparison, current))


def _moved_type(counts: NDArray[np.int64], current: pd.Series) -> tuple[str, str]:
    """The type whose share moved furthest, with its share in reference and window."""
    now = current.value_counts(normalize=True)
    shares = {
        str(cell): (count / counts.sum(), now.get(str(cell), 0.0))
        for cell, count in zip(CELL_TYPES, counts, strict=True)
    }
    name = max(shares, key=lambda cell: abs(shares[cell][1] - shares[cell][0]))
    return f"{name} {shares[name][0]:.0%}", f"{name} {shares[name][1]:.0%}"


def _accuracy(
    current: pd.DataFrame, calibrated: Calibrated | None, overall: Overall, found: Found
) -> tuple[Accuracy | None, str]:
    """The estimate, or why there is none: probabilities hold for pictures like those they were calibrated on."""
    if overall is Overall.INSUFFICIENT:
        return None, "There are too few observations."
    if found.moved(Kind.OPTICS) or found.moved(Kind.NETWORK):
        return None, (
            "The pictures are not like those that the model's probabilities were calibrated on, so these cannot say "
            "how many answers are right: label a sample."
        )
    if calibrated is None:
        return None, "The model does not say how good its probabilities are."
    return calibrated.estimate(current["confidence"]), ""
