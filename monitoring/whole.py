"""What a verdict compares as a whole and Evidently has no measure for, told to Evidently as a metric of ours.

The distance between what the network sees, within predicted type, is found once, for the verdict. Evidently is given
the number and its threshold, so that its report and its UI show it beside its own columns and cannot say otherwise.
"""

import warnings

from monitoring.drift import ColumnVerdict

with warnings.catch_warnings():
    # What Evidently and its web framework call by an outdated name is theirs to mend.
    warnings.simplefilter("ignore")
    from evidently.core.datasets import Dataset
    from evidently.core.metric_types import BoundTest, SingleValue, SingleValueCalculation, SingleValueMetric
    from evidently.core.report import Context
    from evidently.tests import lte


class WholeDistance(SingleValueMetric):
    """The distance of one column of a verdict."""

    column: str
    distance: float
    threshold: float

    def _default_tests_with_reference(self, context: Context) -> list[BoundTest]:  # noqa: ARG002
        return [lte(self.threshold).bind_single(self.get_fingerprint())]


class WholeDistanceCalculation(SingleValueCalculation[WholeDistance]):
    """Gives the distance back."""

    def calculate(
        self,
        context: Context,  # noqa: ARG002
        current_data: Dataset,  # noqa: ARG002
        reference_data: Dataset | None,  # noqa: ARG002
    ) -> SingleValue:
        """The distance that the verdict was reached with."""
        return self.result(self.metric.distance)

    def display_name(self) -> str:
        """What stands above the number."""
        return f"Distance of {self.metric.column} within predicted type"


def distance_of(column: ColumnVerdict) -> WholeDistance:
    """The metric of one column."""
    return WholeDistance(column=column.name, distance=column.statistic, threshold=column.threshold)
