"""What the verdict knows and Evidently cannot measure, as a metric of ours in Evidently's report and UI.

The distance of what the network sees, within predicted type, and the worst column of each kind are found once, for the
verdict. A report is given these numbers beside its data (``additional_data``), so it cannot say otherwise, and a metric
says by name which one it shows. Numbers and thresholds are no parameters of the metric: in the UI a line over time is
drawn through metrics of the same parameters.
"""

import warnings

import pandas as pd

from monitoring.comparison import FEATURES
from monitoring.verdict import Kind, Verdict

with warnings.catch_warnings():
    # What Evidently and its web framework call by an outdated name is theirs to mend.
    warnings.simplefilter("ignore")
    from evidently.core.datasets import Dataset
    from evidently.core.metric_types import BoundTest, SingleValue, SingleValueCalculation, SingleValueMetric
    from evidently.core.report import Context
    from evidently.tests import lte

BESIDE = "verdict"
"""Name of the additional data."""
SHARE = "share of drifted columns"
_VALUE, _THRESHOLD = "value", "threshold"


class VerdictNumber(SingleValueMetric):
    """One number of the verdict, by its name."""

    column: str

    def _default_tests_with_reference(self, context: Context) -> list[BoundTest]:
        threshold = _of(context, self.column, _THRESHOLD)
        return [] if pd.isna(threshold) else [lte(threshold).bind_single(self.get_fingerprint())]


class VerdictNumberCalculation(SingleValueCalculation[VerdictNumber]):
    """Looks the number up."""

    def calculate(
        self,
        context: Context,
        current_data: Dataset,  # noqa: ARG002
        reference_data: Dataset | None,  # noqa: ARG002
    ) -> SingleValue:
        """The number as the verdict has it."""
        return self.result(_of(context, self.metric.column, _VALUE))

    def display_name(self) -> str:
        """What stands above the number."""
        return self.metric.column.capitalize()


def worst(kind: Kind) -> str:
    """Name of the worst ratio of a kind."""
    return f"worst of {kind}"


def numbers(verdict: Verdict) -> pd.DataFrame:
    """All of them: ``value`` and ``threshold`` by name. Only what Evidently does not test itself has a threshold."""
    nan = float("nan")
    beyond = {c.name: (c.statistic, c.threshold) for c in verdict.columns if c.name == FEATURES}
    by_kind = {kind: [c.ratio for c in verdict.columns if c.kind is kind] for kind in Kind}
    ratios = {worst(kind): (max(found), nan) for kind, found in by_kind.items() if found}
    share = {SHARE: (len(verdict.drifted_columns) / len(verdict.columns), nan)}
    return pd.DataFrame.from_dict({**share, **ratios, **beyond}, orient="index", columns=[_VALUE, _THRESHOLD])


def metrics(verdict: Verdict) -> list[VerdictNumber]:
    """A metric for each."""
    return [VerdictNumber(column=str(name)) for name in numbers(verdict).index]


def _of(context: Context, name: str, which: str) -> float:
    return float(context.additional_data[BESIDE].as_dataframe().loc[name, which])
