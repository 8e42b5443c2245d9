"""What was decided about a challenger, criterion by criterion."""

from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.params import Policy


class Outcome(StrEnum):
    """What came of a challenge."""

    PROMOTED = "promoted"
    REFUSED = "refused"


class Looks(BaseModel):
    """How often the sealed images were used before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: int = Field(ge=0, description="different networks that were scored on these very images")
    challengers: int = Field(ge=1, description="different models that were decided on by them, this one included")


class Criterion(BaseModel):
    """One thing that was asked of the challenger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | None = Field(description="what was measured; None where that is not a number, or was not possible")
    low: float | None = Field(default=None, description="end of its interval: two-sided with `high`, one-sided without")
    high: float | None = None
    limit: float | None = None
    p: float | None = Field(default=None, description="one-sided, after Holm's correction where several are asked")
    passed: bool
    sentence: str

    def cells(self) -> tuple[str, ...]:
        """Name, value, interval, limit, p value and verdict as words; what it has not is left empty."""
        if self.low is None:
            interval = ""
        else:
            interval = f"{self.low:.4f} to {self.high:.4f}" if self.high is not None else f"at least {self.low:.4f}"
        return (
            self.name,
            "" if self.value is None else _number(self.value),
            interval,
            "" if self.limit is None else _number(self.limit),
            "" if self.p is None else f"{self.p:.3f}",
            "met" if self.passed else "NOT MET",
        )


class Decision(BaseModel):
    """What was decided about a challenger, and why. Kept with the version in the registry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Outcome
    summary: str
    """One sentence for people."""
    policy: Policy | None = None
    """None in decisions of releases before there were policies."""
    level: float | None = None
    """Of each one-sided test, corrected for looks where the rule says so; None as above."""
    looks: Looks | None = None
    """None where they were not counted: drawn challengers, and releases before there was a ledger."""
    criteria: tuple[Criterion, ...]
    challenger: int
    champion: int | None
    """The version it was compared with; None when there was none."""
    images: int
    """Sealed images both were scored on."""
    test_digest: str
    synthetic: bool

    @property
    def promoted(self) -> bool:
        """Whether the alias may move."""
        return self.outcome is Outcome.PROMOTED

    @property
    def failed(self) -> tuple[Criterion, ...]:
        """The criteria that were not met."""
        return tuple(criterion for criterion in self.criteria if not criterion.passed)

    headings: ClassVar = ("criterion", "measured", "interval", "limit", "p", "verdict")
    """Of :meth:`table`."""

    def table(self) -> list[tuple[str, ...]]:
        """A row of words for each criterion."""
        return [criterion.cells() for criterion in self.criteria]

    def markdown(self) -> str:
        """Summary and table, for the registry's page and for whoever is asked for approval."""
        rows = [self.headings, tuple("---" for _ in self.headings), *self.table()]
        return f"{self.summary}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _number(value: float) -> str:
    """Shares to four places; counts as they are."""
    return f"{value:.0f}" if value >= 2 and value == int(value) else f"{value:.4f}"
