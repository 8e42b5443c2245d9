"""The verdict on one window of observations. Computed directly, so that it is cheap enough for every window."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from bloodyspy.errors import MonitoringError
from bloodyspy.model.signatures import Signatures
from bloodyspy.observation import ANSWERED, NOWHERE, Origin
from monitoring.accuracy import Accuracy, Calibrated
from monitoring.causes import Marks
from monitoring.comparison import Comparison
from monitoring.finding import NOTHING, Found, find
from monitoring.thresholds import Thresholds
from monitoring.verdict import Kind, Overall, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """How a window is judged."""

    minimum_rows: int
    """Fewer, of the window or the reference, are `insufficient`."""
    rate: float
    """Share of windows without any change that may be called drifted."""


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
        reference: observations of held-out pictures of one preparation and one model, with COLUMNS, and ANSWERED
            where some were answered live.
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
        reference_answered=_answered(reference),
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


def _answered(reference: pd.DataFrame) -> tuple[datetime, datetime] | None:
    """From when to when a reference was answered; None where it was imported."""
    if ANSWERED not in reference or reference[ANSWERED].isna().any():
        return None
    answered = reference[ANSWERED]
    return answered.min().to_pydatetime(), answered.max().to_pydatetime()


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
