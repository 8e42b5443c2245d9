"""The differential of one smear: percentages of the white cells, and how far they can be trusted."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import SmearError
from bloodyspy.smear.correction import CHAINS, most_likely, true_counts
from bloodyspy.smear.intervals import LEVEL, clopper_pearson, mixed_clopper_pearson

WHITE: tuple[CellType, ...] = tuple(c for c in CELL_TYPES if c not in (CellType.ERYTHROBLAST, CellType.PLATELET))
"""The types whose percentages sum to 100."""

_WHITE = np.array([cell.position for cell in WHITE])
_ERYTHROBLAST = CellType.ERYTHROBLAST.position

_FACTORS = np.array([1, 2, 4, 8, 16, 64])  # how many times the cells, where a wanted precision is looked for
_CHAINS_OF_A_PLAN = 24  # a plan is rough


class Question(BaseModel):
    """What is asked of a smear, beside its counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float = Field(default=LEVEL, gt=0.5, lt=1, description="of each interval by itself")
    ig_limit: float = Field(default=2.0, gt=0, lt=100, description="percent of ig that is flagged above")
    half_width: float = Field(default=5.0, gt=0, le=50, description="points; the precision that is wanted of each type")
    seed: int = Field(default=0, ge=0, description="of the draws that the corrected intervals are made of")


class Share(BaseModel):
    """A percentage, or a number per 100, with its interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(ge=0)
    low: float = Field(ge=0)
    high: float = Field(ge=0)

    @classmethod
    def of(cls, value: float, low: float, high: float) -> Self:
        """From numbers that may miss one another by rounding, or by the chance of the draws."""
        return cls(value=value, low=max(0.0, min(low, value)), high=max(high, value))

    def __str__(self) -> str:
        return f"{self.value:.1f} ({self.low:.1f} to {self.high:.1f})"


class WhiteCells(BaseModel):
    """One type of white cell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell_type: CellType
    counted: int = Field(ge=0)
    """Cells that were answered with it, those in review too."""
    in_review: int = Field(ge=0)
    """Of these."""
    raw: Share
    """Percent of the counted white cells; the exact binomial interval, which knows of no errors of the classifier."""
    corrected: Share
    """Percent of the white cells, corrected by the confusion matrix; the interval holds the chance of the count and
    what is not known of the matrix."""
    more: int | None = Field(ge=0)
    """White cells to count beyond those that were, until the wanted precision is to be expected; None where counting 64
    times as many would not do, because the confusion matrix was measured on too few images."""


class Erythroblasts(BaseModel):
    """Nucleated red cells, which are counted beside the white ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    counted: int = Field(ge=0)
    in_review: int = Field(ge=0)
    raw: Share
    """For each 100 white cells."""
    corrected: Share


class Flagged(StrEnum):
    """Whether a share lies above a limit."""

    YES = "yes"
    NO = "no"
    CANNOT_BE_TOLD = "cannot be told"


class IgFlag(BaseModel):
    """Whether there are more immature granulocytes than the limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: float
    """Percent of the white cells."""
    share: Share
    """The corrected one."""
    above: Flagged
    """Yes or no only where the whole interval lies on one side."""


class Differential(BaseModel):
    """What the cells of one smear come to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Question
    cells: int = Field(ge=1)
    """Pictures that were classified, rejected ones too."""
    rejected: int = Field(ge=0)
    """Left out of every count."""
    in_review: int = Field(ge=0)
    """Counted with the type that was answered, and to be looked at by a person."""
    white: int = Field(ge=1)
    """Counted white cells."""
    classes: tuple[WhiteCells, ...]
    """In the order of the cell types."""
    erythroblasts: Erythroblasts
    platelets: int = Field(ge=0)
    """Pictures of them, which are no platelet count."""
    ig: IgFlag
    measured_on: dict[CellType, int]
    """Images of each type that the confusion matrix was measured on."""

    def of(self, cell: CellType) -> WhiteCells:
        """One type of white cell."""
        return next(white for white in self.classes if white.cell_type is cell)


def differential(
    predicted: Sequence[CellType],
    actions: Sequence[str],
    confusion: NDArray[np.integer],
    question: Question | None = None,
) -> Differential:
    """The differential of one smear.

    Args:
        predicted: type of each cell.
        actions: ``auto``, ``review`` or ``reject`` for each.
        confusion: of the model that answered, on images that it had not seen: counts, rows the actual types, 8 x 8.
        question: default :class:`Question`.

    Raises:
        SmearError: there is no white cell among those that were not rejected.
    """
    question = question or Question()
    answers, review, rejected = _tallies(predicted, actions)
    white = int(answers[_WHITE].sum())
    if not white:
        raise SmearError(
            f"Among {len(predicted):,} cells there is no white one that could be counted "
            f"({rejected:,} were rejected). Send the pictures of one smear's white cells."
        )
    level = question.level
    shares = estimates(answers, confusion)
    corrected = corrected_intervals(answers, confusion, question)
    raw = raw_intervals(answers, level)
    wanted = more_cells(answers, confusion, question)
    classes = tuple(
        WhiteCells(
            cell_type=cell,
            counted=int(answers[cell.position]),
            in_review=int(review[cell.position]),
            raw=_percent(answers[cell.position] / white, raw[:, cell.position]),
            corrected=_percent(shares[cell.position], corrected[:, cell.position]),
            more=more,
        )
        for cell, more in zip(WHITE, wanted, strict=True)
    )
    ig = classes[WHITE.index(CellType.IG)].corrected
    return Differential(
        question=question,
        cells=len(predicted),
        rejected=rejected,
        in_review=int(review.sum()),
        white=white,
        classes=classes,
        erythroblasts=Erythroblasts(
            counted=int(answers[_ERYTHROBLAST]),
            in_review=int(review[_ERYTHROBLAST]),
            raw=_percent(answers[_ERYTHROBLAST] / white, raw[:, _ERYTHROBLAST]),
            corrected=_percent(shares[_ERYTHROBLAST], corrected[:, _ERYTHROBLAST]),
        ),
        platelets=int(answers[CellType.PLATELET.position]),
        ig=IgFlag(limit=question.ig_limit, share=ig, above=_above(ig, question.ig_limit)),
        measured_on={cell: int(confusion[cell.position].sum()) for cell in CELL_TYPES},
    )


def estimates(answers: NDArray[np.integer], confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Corrected shares: of the white types among the white cells, of the others for each white cell; shape (..., 8)."""
    shares = most_likely(answers, confusion)
    return np.asarray(shares / np.maximum(shares[..., _WHITE].sum(axis=-1, keepdims=True), 1e-12))


def raw_intervals(answers: NDArray[np.integer], level: float) -> NDArray[np.float64]:
    """Exact intervals of the counted shares, as :func:`estimates` has them; shape (2, ..., 8)."""
    return _for_each_white_cell(np.stack(clopper_pearson(answers, _trials(answers), level)))


def corrected_intervals(
    answers: NDArray[np.integer], confusion: NDArray[np.integer], question: Question, chains: int = CHAINS
) -> NDArray[np.float64]:
    """Intervals of the shares that :func:`estimates` gives, from so many chains of draws; shape (2, ..., 8)."""
    rng = np.random.default_rng(question.seed)
    counts = true_counts(answers, confusion, rng, chains)
    return _for_each_white_cell(np.stack(mixed_clopper_pearson(counts, _trials(counts), rng, question.level)))


def more_cells(
    answers: NDArray[np.integer], confusion: NDArray[np.integer], question: Question
) -> tuple[int | None, ...]:
    """White cells to count beyond those that were, for the wanted precision of each white type.

    It is looked up on the intervals that the same smear would have with 2, 4, 8, 16 and 64 times its cells.
    """
    many = np.broadcast_to(confusion, (len(_FACTORS), *confusion.shape))
    low, high = corrected_intervals(answers * _FACTORS[:, None], many, question, _CHAINS_OF_A_PLAN)
    half_widths = np.minimum.accumulate(50 * (high - low)[:, _WHITE], axis=0)
    white = int(answers[_WHITE].sum())
    found: list[int | None] = []
    for widths in half_widths.T:
        if widths[-1] > question.half_width:
            found.append(None)
            continue
        # between two factors the width falls as a power of the number of cells
        factor = np.exp(np.interp(-np.log(question.half_width), -np.log(widths), np.log(_FACTORS)))
        found.append(int(np.ceil(white * (float(factor) - 1))))
    return tuple(found)


def _tallies(predicted: Sequence[CellType], actions: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Cells by answer, those of them in review, and how many were rejected."""
    positions = np.array([CellType(cell).position for cell in predicted], dtype=np.int64)
    said = np.array(actions, dtype=np.str_)
    if len(said) != len(positions) or not np.isin(said, ("auto", "review", "reject")).all():
        raise ValueError("each cell needs one action: auto, review or reject")
    kept = said != "reject"
    answers, review = (np.bincount(positions[some], minlength=len(CELL_TYPES)) for some in (kept, said == "review"))
    return answers, review, int((~kept).sum())


def _trials(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """What each count is one of: the white cells, and for the other types these and itself; at least 1."""
    trials = np.repeat(counts[..., _WHITE].sum(axis=-1, keepdims=True), len(CELL_TYPES), axis=-1)
    others = [_ERYTHROBLAST, CellType.PLATELET.position]
    trials[..., others] += counts[..., others]
    return np.asarray(np.maximum(trials, 1), dtype=np.int64)


def _for_each_white_cell(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """A share p of erythroblasts among them and the white cells is p / (1 - p) for each white cell."""
    others = [_ERYTHROBLAST, CellType.PLATELET.position]
    ends[..., others] /= np.maximum(1 - ends[..., others], 1e-9)
    return ends


def _percent(value: float, ends: NDArray[np.float64]) -> Share:
    return Share.of(100 * float(value), 100 * float(ends[0]), 100 * float(ends[1]))


def _above(share: Share, limit: float) -> Flagged:
    if share.low > limit:
        return Flagged.YES
    return Flagged.NO if share.high <= limit else Flagged.CANNOT_BE_TOLD
