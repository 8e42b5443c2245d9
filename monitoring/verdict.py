"""What a drift check says."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from monitoring.accuracy import Accuracy
from monitoring.causes import Cause


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


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnVerdict(_Frozen):
    """One distance of a window from the reference."""

    name: str
    """A column; ``embedding`` for what the network sees; ``predicted`` for the shares of the types."""
    kind: Kind
    statistic: float
    """Kolmogorov's distance within types, maximum mean discrepancy, or the largest difference of a share."""
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
    reference_answered: tuple[datetime, datetime] | None = None
    """The first and the last of them that the random audit brought, where these are what the window was held against
    (:mod:`monitoring.preparations`); None where it was held against the imported ones."""
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
