"""``metrics.json`` of an artefact: all that was measured of a model, as one record.

The parts that other modules measure are declared here, so that whoever reads a model's scores loads no model.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.evaluation.calibration import Calibration
from bloodyspy.evaluation.intervals import Estimate
from bloodyspy.evaluation.metrics import Metrics
from bloodyspy.evaluation.selective import Selective
from bloodyspy.images.corruption import Shift


class StressCell(BaseModel):
    """One corruption at one severity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Shift
    severity: int = Field(ge=1, le=5)
    balanced_error: Estimate
    """1 - balanced accuracy; bootstrap interval."""


class Stress(BaseModel):
    """How wrong a model is on corrupted pictures of the sealed part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1)
    """Pictures that each cell was measured on."""
    per_class: int = Field(ge=1)
    """Pictures of each type that were asked for; of a type that has fewer, all were taken."""
    digest: str
    """SHA-256 over the digests of the pictures: two models' errors can be subtracted only where it is equal."""
    clean: Estimate
    """Balanced error on the same pictures as they are."""
    cells: tuple[StressCell, ...] = Field(min_length=1)
    mean_balanced_error: Estimate
    """Mean of all cells."""


class External(BaseModel):
    """How a model does on another laboratory's pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digest: str
    """SHA-256 over the digests of the pictures."""
    images: int = Field(ge=1)
    unreadable: int = Field(ge=0)
    """Files that cannot be read or are no picture; they are in no score."""
    in_data_set: int = Field(default=0, ge=0)
    """Pictures that the data set holds too, which a model may have learned; they are in no score."""
    duplicates: int = Field(default=0, ge=0)
    """Further copies of a picture, and every copy of one that stands under several types; they are in no score."""
    metrics: Metrics
    answers: Selective
    """What the answer policy does to them."""


class NoCells(BaseModel):
    """What the answer policy does to drawn pictures of nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1)
    reject: Estimate
    """Share that is refused as no cell; Wilson interval."""
    auto: Estimate
    """Share that is named unseen."""
    kinds: dict[str, float]
    """Share of each kind that is refused."""


class Cost(BaseModel):
    """What an answer costs on the machine that evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    megabytes_artefact: float = Field(gt=0)
    """Of the whole directory but its own scores and card, 10^6 bytes."""
    megabytes_graph: float = Field(gt=0)
    """Of the graph that serves."""
    memory_mb: float = Field(gt=0)
    """Resident in a process that holds the graph and has answered."""
    milliseconds_1: float = Field(gt=0)
    """Of the graph for each picture, one at a time."""
    milliseconds_32: float = Field(gt=0)
    """Of the graph for each picture, in batches of 32."""
    milliseconds_picture: float = Field(gt=0)
    """Of the whole road for one picture, from its bytes to its observation."""


class SeedNumbers(BaseModel):
    """What is told of each of several trainings that differ by their seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation_accuracy: float = Field(ge=0, le=1)
    test_accuracy: float = Field(ge=0, le=1)
    test_balanced_accuracy: float = Field(ge=0, le=1)
    test_ig_sensitivity: float | None = Field(default=None, ge=0, le=1)
    """None where the sealed part has no image of that type."""
    test_ece: float = Field(ge=0, le=1)


class SeedScore(SeedNumbers):
    """One of those trainings."""

    seed: int = Field(ge=0)
    run_id: str


class Seeds(BaseModel):
    """The chance of training: the same candidate, trained with several seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[SeedScore, ...] = Field(min_length=2)
    mean: SeedNumbers
    standard_deviation: SeedNumbers
    """Of the sample, with n - 1."""

    @classmethod
    def of(cls, runs: Sequence[SeedScore]) -> Self:
        """Mean and spread of at least two runs."""
        columns = {name: [getattr(run, name) for run in runs] for name in SeedNumbers.model_fields}
        columns = {name: values for name, values in columns.items() if None not in values}
        return cls(
            runs=tuple(runs),
            mean=SeedNumbers(**{name: statistics.fmean(values) for name, values in columns.items()}),
            standard_deviation=SeedNumbers(**{name: statistics.stdev(values) for name, values in columns.items()}),
        )


class Scores(BaseModel):
    """``metrics.json`` of an artefact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation: Metrics
    """The part that candidates are chosen on."""
    test: Metrics
    """The sealed part."""
    test_digest: str
    """SHA-256 over the digests of the sealed images: two models were scored on the same ones only where it is equal."""
    calibration: Calibration
    answers: Selective
    """What the answer policy does to the sealed part."""
    no_cells: NoCells
    stress: Stress
    external: tuple[External, ...] = ()
    """One for each folder that params.yaml names."""
    cost: Cost
    seeds: Seeds | None = None
    """None where the candidate was trained once."""

    def flat(self) -> dict[str, float]:
        """Flat numbers for MLflow and ``dvc metrics``: ``x``, ``x_low`` and ``x_high`` for each estimate.

        Each begins with what it is of: ``validation_``, ``test_``, ``calibration_``, ``answers_``, ``no_cells_``,
        ``stress_``, ``external_<name>_``, ``cost_`` or ``seeds_``.
        """
        numbers = _prefixed("validation", self.validation.flat()) | _prefixed("test", self.test.flat())
        numbers |= _prefixed("calibration", _calibration(self.calibration)) | _prefixed("stress", _stress(self.stress))
        numbers |= _prefixed("answers", self.answers.flat())
        numbers |= _prefixed("no_cells", self.no_cells.reject.flat("reject") | self.no_cells.auto.flat("auto"))
        for other in self.external:
            name = re.sub(r"[^0-9a-z]+", "_", other.name.lower())
            numbers |= _prefixed(f"external_{name}", {"unreadable": other.unreadable, **other.metrics.flat()})
            numbers |= _prefixed(f"external_{name}_answers", other.answers.flat())
        numbers |= _prefixed("cost", self.cost.model_dump())
        if self.seeds:
            for statistic, found in (("mean", self.seeds.mean), ("sd", self.seeds.standard_deviation)):
                for name, number in found.model_dump(exclude_none=True).items():
                    numbers[f"seeds_{name}_{statistic}"] = number
        return numbers


def _prefixed(prefix: str, numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": number for name, number in numbers.items()}


def _calibration(found: Calibration) -> dict[str, float]:
    # The test part after the temperature is `test_ece`, as in the scores of the part.
    return {
        "temperature": found.temperature,
        "ece_before": found.calibration_before.ece,
        "ece_after": found.calibration_after.ece,
        "test_ece_before": found.test_before.ece,
        "test_log_loss_before": found.test_before.log_loss,
    }


def _stress(found: Stress) -> dict[str, float]:
    return {**found.clean.flat("clean_balanced_error"), **found.mean_balanced_error.flat("mean_balanced_error")}
