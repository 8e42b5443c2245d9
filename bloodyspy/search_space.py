"""The key ``tuning`` of params.yaml: what of a candidate is searched, and when a trial is given up."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Scalar = bool | int | float | str


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Range(_Strict):
    """Any number between two, both included; whole numbers where the field takes only those."""

    low: float
    high: float
    log: bool = Field(default=False, description="whether magnitudes, not differences, are equally likely")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low is not below high")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range begins above 0")
        return self

    @property
    def samples(self) -> tuple[Scalar, ...]:
        """Values by which the domain is checked."""
        return self.low, self.high

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"


class Choices(_Strict):
    """One of a list."""

    choices: tuple[Scalar, ...] = Field(min_length=2)

    @property
    def samples(self) -> tuple[Scalar, ...]:
        """Values by which the domain is checked."""
        return self.choices

    @property
    def words(self) -> str:
        """For people."""
        return " | ".join(map(str, self.choices))


class MedianPruner(_Strict):
    """A trial ends early when its best loss so far is worse than the median of the others at that epoch."""

    kind: Literal["median"]
    startup_trials: int = Field(ge=1, description="none is ended early before so many are over")
    warm_up_epochs: int = Field(ge=1, description="none is ended before so many of its epochs")


class HalvingPruner(_Strict):
    """A trial ends early when it is not among the best at one of a few judgements, each later than the one before."""

    kind: Literal["successive_halving"]
    warm_up_epochs: int = Field(ge=1, description="epochs until the first judgement")
    reduction: int = Field(ge=2, description="one in so many goes on at each judgement")


class NoPruner(_Strict):
    """Every trial runs to its end."""

    kind: Literal["none"]


class Study(_Strict):
    """A search: its winner becomes the candidate of the study's name."""

    candidate: Name = Field(description="the candidate whose fields are searched")
    trials: int = Field(ge=1)
    seed: int = Field(ge=0)
    pruner: Annotated[MedianPruner | HalvingPruner | NoPruner, Field(discriminator="kind")]
    space: dict[str, Range | Choices] = Field(min_length=1, description="field of the candidate -> its domain")
