"""Simulated smears: how far the differential can be trusted, measured on compositions that are known.

There are pictures of single cells only, so a smear is drawn: its true cells from a stated composition, and for each the
answer that a model gave to an image of that type. The images of a smear are left out of the confusion matrix that it is
corrected with, each smear its own (leave-out cross-fitting): no answer is corrected by itself. A smear takes each image
once, as each cell of a real one is another cell; of a type it takes half of the images at most, and repeats these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.smear.differential import WHITE, Question, corrected_intervals, estimates, raw_intervals

CELLS = 200
"""White cells of a simulated smear: what a careful laboratory counts."""

PLATELETS = 10.0
"""Pictures of them for each 100 white cells."""

COUNTED: tuple[CellType, ...] = (*WHITE, CellType.ERYTHROBLAST)
"""The types that a differential has an interval for; erythroblasts for each 100 white cells."""

_COUNTED = np.array([cell.position for cell in COUNTED])
_BATCH = 50  # smears worked on together


@dataclass(frozen=True, slots=True)
class Composition:
    """What smears are drawn from."""

    name: str
    white: Mapping[CellType, float]
    """Percent of the white cells, of all six types; they sum to 100."""
    erythroblasts: float
    """For each 100 white cells."""

    @property
    def truth(self) -> NDArray[np.float64]:
        """Percent, or for each 100 white cells, in the order of :data:`COUNTED`."""
        return np.array([*(self.white[cell] for cell in WHITE), self.erythroblasts])


def _composition(name: str, *percent: float, erythroblasts: float) -> Composition:
    return Composition(name, dict(zip(WHITE, percent, strict=True)), erythroblasts)


COMPOSITIONS: tuple[Composition, ...] = (
    # basophils, eosinophils, ig, lymphocytes, monocytes, neutrophils
    _composition("healthy", 0.8, 2.8, 0.4, 30.0, 6.0, 60.0, erythroblasts=0.2),
    _composition("left shift", 0.5, 1.0, 12.0, 12.0, 6.0, 68.5, erythroblasts=1.0),
    _composition("eosinophilia", 1.0, 25.0, 0.5, 25.0, 6.0, 42.5, erythroblasts=0.2),
    _composition("leukoerythroblastic", 1.0, 2.0, 10.0, 18.0, 5.0, 64.0, erythroblasts=12.0),
    _composition("lymphocytosis", 0.5, 1.5, 0.5, 45.0, 5.0, 47.5, erythroblasts=0.2),
    _composition("monocytosis", 0.5, 2.0, 1.0, 25.0, 20.0, 51.5, erythroblasts=0.5),
)


class Agreement(BaseModel):
    """How one type's numbers agree with the truth, over many smears of one composition; percent or points."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell_type: CellType
    truth: float
    """Of the composition."""
    raw_bias: float
    """Mean of counted minus true."""
    bias: float
    """Mean of corrected minus true."""
    bias_error: float = Field(ge=0)
    """Standard error of that mean, from the number of smears."""
    inverse_bias: float
    """Of the inverse of the matrix, whose percentages may be negative: where it is near zero and the corrected one's is
    not, the corrected one is off because it is kept from being negative."""
    limits: tuple[float, float]
    """Of agreement: bias minus and plus 1.96 standard deviations of the differences (Bland and Altman 1986)."""
    coverage: float = Field(ge=0, le=1)
    """Share of the corrected intervals that hold the truth."""
    raw_coverage: float = Field(ge=0, le=1)
    """The same of the exact binomial intervals of the counts."""
    width: float = Field(ge=0)
    """Median, of the corrected intervals."""
    raw_width: float = Field(gt=0)
    """Median, of the exact binomial intervals of the counts."""
    exact_width: float = Field(gt=0)
    """Median, of the exact binomial intervals of the same smears read without an error."""

    @property
    def width_ratio(self) -> float:
        """What the classifier's errors cost: 1 for a reader without any."""
        return self.width / self.exact_width


class Simulation(BaseModel):
    """What simulated smears of one composition came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    simulated: Literal[True] = True
    composition: str
    smears: int = Field(ge=1)
    white_cells: int
    """Of each smear."""
    types: tuple[Agreement, ...]

    def of(self, cell: CellType) -> Agreement:
        """One type."""
        return next(agreement for agreement in self.types if agreement.cell_type is cell)


def simulate(
    actual: NDArray[np.integer],
    predicted: NDArray[np.integer],
    composition: Composition,
    smears: int,
    seed: int = 0,
    cells: int = CELLS,
) -> Simulation:
    """Draw smears and hold their differentials against what they were drawn from.

    Args:
        actual: type of each image that smears are drawn from, positions, shape (n,); two or more of each type.
        predicted: what the model answered, shape (n,).
        composition: of the smears.
        smears: how many, 2 or more.
        seed: of the draws.
        cells: white cells of each smear.
    """
    rng = np.random.default_rng(seed)
    images = [predicted[actual == position] for position in range(len(CELL_TYPES))]
    true = _true_cells(composition, smears, cells, rng)
    drawn = [_draw(one, images, rng) for one in true]
    answers, confusion = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    corrected = 100 * estimates(answers, confusion)[:, _COUNTED]
    raw = 100 * answers[:, _COUNTED] / answers[:, _COUNTED[:-1]].sum(axis=1, keepdims=True)
    intervals = _in_batches(answers, confusion, seed)
    raw_ends, exact = (100 * raw_intervals(counts, Question().level)[..., _COUNTED] for counts in (answers, true))
    truth = composition.truth
    inverse = _inverse(answers, confusion)
    errors = corrected - truth
    spread = errors.std(axis=0, ddof=1)
    bias = errors.mean(axis=0)
    covered, raw_covered = (((low <= truth) & (truth <= high)).mean(axis=0) for low, high in (intervals, raw_ends))
    width, raw_width, exact_width = (np.median(high - low, axis=0) for low, high in (intervals, raw_ends, exact))
    return Simulation(
        composition=composition.name,
        smears=smears,
        white_cells=cells,
        types=tuple(
            Agreement(
                cell_type=cell,
                truth=truth[i],
                raw_bias=float((raw[:, i] - truth[i]).mean()),
                bias=bias[i],
                bias_error=spread[i] / np.sqrt(smears),
                inverse_bias=float((inverse[:, i] - truth[i]).mean()),
                limits=(bias[i] - 1.96 * spread[i], bias[i] + 1.96 * spread[i]),
                coverage=covered[i],
                raw_coverage=raw_covered[i],
                width=width[i],
                raw_width=raw_width[i],
                exact_width=exact_width[i],
            )
            for i, cell in enumerate(COUNTED)
        ),
    )


def _true_cells(composition: Composition, smears: int, cells: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Cells by actual type, shape (smears, 8)."""
    true = np.zeros((smears, len(CELL_TYPES)), dtype=np.int64)
    shares = np.array([composition.white[cell] for cell in WHITE]) / 100
    true[:, [cell.position for cell in WHITE]] = rng.multinomial(cells, shares / shares.sum(), size=smears)
    true[:, CellType.ERYTHROBLAST.position] = rng.poisson(cells * composition.erythroblasts / 100, size=smears)
    true[:, CellType.PLATELET.position] = rng.poisson(cells * PLATELETS / 100, size=smears)
    return true


def _draw(
    true: NDArray[np.int64], images: list[NDArray[np.integer]], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Answers to the cells of one smear, shape (8,), and the confusion matrix of the images it did not take, (8, 8)."""
    answers = np.zeros(len(CELL_TYPES), dtype=np.int64)
    confusion = np.zeros((len(CELL_TYPES), len(CELL_TYPES)), dtype=np.int64)
    for position, wanted in enumerate(true):
        mixed = rng.permutation(images[position])
        taken = min(int(wanted), len(mixed) // 2)
        if taken:
            answers += np.bincount(np.resize(mixed[:taken], int(wanted)), minlength=len(CELL_TYPES))
        confusion[position] = np.bincount(mixed[taken:], minlength=len(CELL_TYPES))
    return answers, confusion


def _in_batches(answers: NDArray[np.int64], confusion: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Corrected intervals of all smears, percent, shape (2, smears, 7)."""
    ends = [
        corrected_intervals(
            answers[start : start + _BATCH], confusion[start : start + _BATCH], Question(seed=seed + start), chains=48
        )
        for start in range(0, len(answers), _BATCH)
    ]
    return np.asarray(100 * np.concatenate(ends, axis=1)[..., _COUNTED])


def _inverse(answers: NDArray[np.int64], confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Percentages by the inverse of the confusion matrix, which may be negative, shape (smears, 7)."""
    answered = confusion / np.maximum(confusion.sum(axis=-1, keepdims=True), 1)
    cells = np.stack([np.linalg.lstsq(one.T, counts)[0] for one, counts in zip(answered, answers, strict=True)])
    return np.asarray(100 * cells[:, _COUNTED] / cells[:, _COUNTED[:-1]].sum(axis=1, keepdims=True))
