"""The differential of one smear: percentages of the white cells, and how far they can be trusted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bloodyspy.cells import CELL_TYPES, NO_CELL, CellType, Label
from bloodyspy.errors import SmearError
from bloodyspy.smear.correction import CHAINS, most_likely, true_counts
from bloodyspy.smear.intervals import LEVEL, clopper_pearson, mixed_clopper_pearson

WHITE: tuple[CellType, ...] = tuple(c for c in CELL_TYPES if c not in (CellType.ERYTHROBLAST, CellType.PLATELET))
"""The types whose percentages sum to 100."""

_WHITE = np.array([cell.position for cell in WHITE])
_ERYTHROBLAST = CellType.ERYTHROBLAST.position

_MOST = 10_000.0
"""Erythroblasts for each white cell, at most: where the correction leaves no white cell there is no such number."""

_FACTORS = np.array([1, 2, 4, 8, 16, 64])  # how many times the cells, where a wanted precision is looked for
_CHAINS_OF_A_PLAN = 24  # a plan is rough


def _whole(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("a whole number is wanted")  # noqa: TRY004 (pydantic makes no fault of another)
    return value


Whole = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(_whole)]
"""A number as JSON Schema means `integer`: 1.0 is one, `true` and "1" are none."""

Counts = dict[CellType, Whole]
"""Cells by type; a type that is not there has none."""


class Tally(BaseModel):
    """The cells of one smear, counted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auto: Counts = Field(default={}, description="by answered type")
    review: Counts = Field(default={}, description="by answered type: a person is to look at them, and none has")
    labelled: Counts = Field(default={}, description="by the type that a person gave, whatever the answer was")
    rejected: Whole = Field(default=0, description="no cell, by the policy or by a person")

    @classmethod
    def of(
        cls, predicted: Sequence[CellType], actions: Sequence[str], labels: Iterable[Label | None] | None = None
    ) -> Self:
        """Count cells.

        Args:
            predicted: type of each cell.
            actions: ``auto``, ``review`` or ``reject`` for each.
            labels: what a person says of each; None where nobody has said anything.

        Raises:
            ValueError: the sequences have different lengths, or an action is none of the three.
        """
        tallies: dict[str, Counter[CellType]] = {name: Counter() for name in ("auto", "review", "reject", "labelled")}
        rejected = 0
        for cell, action, label in zip(predicted, actions, labels or [None] * len(predicted), strict=True):
            if action not in ("auto", "review", "reject"):
                raise ValueError(f"an action is auto, review or reject, not {action!r}")
            if label == NO_CELL or (label is None and action == "reject"):
                rejected += 1
            elif label is None:
                tallies[action][CellType(cell)] += 1
            else:
                tallies["labelled"][CellType(label)] += 1
        del tallies["reject"]
        return cls.model_validate({**tallies, "rejected": rejected})

    @property
    def cells(self) -> int:
        """All of them."""
        return sum(sum(counts.values()) for counts in (self.auto, self.review, self.labelled)) + self.rejected


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
    labelled: int = Field(default=0, ge=0)
    """Of these: by a person, not by the model."""
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
    labelled: int = Field(default=0, ge=0)
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
    labelled: int = Field(default=0, ge=0)
    """Counted with the type that a person gave."""
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


def differential(tally: Tally, confusion: NDArray[np.integer], question: Question | None = None) -> Differential:
    """The differential of one smear.

    Args:
        tally: its cells.
        confusion: of the model that answered, on images that it had not seen: counts, rows the actual types, 8 x 8.
        question: default :class:`Question`.

    Raises:
        SmearError: there is no white cell among those that were not rejected.
    """
    question = question or Question()
    review, labelled = _vector(tally.review), _vector(tally.labelled)
    answers = _vector(tally.auto) + review
    counted = answers + labelled
    white = int(counted[_WHITE].sum())
    if not white:
        raise SmearError(
            f"Among {tally.cells:,} cells there is no white one that could be counted "
            f"({tally.rejected:,} were rejected). Send the pictures of one smear's white cells."
        )
    level = question.level
    shares = estimates(answers, confusion, labelled)
    corrected = corrected_intervals(answers, confusion, question, labelled=labelled)
    raw = raw_intervals(counted, level)
    wanted = more_cells(answers, confusion, question, labelled)
    classes = tuple(
        WhiteCells(
            cell_type=cell,
            counted=int(counted[cell.position]),
            in_review=int(review[cell.position]),
            labelled=int(labelled[cell.position]),
            raw=_percent(counted[cell.position] / white, raw[:, cell.position]),
            corrected=_percent(shares[cell.position], corrected[:, cell.position]),
            more=more,
        )
        for cell, more in zip(WHITE, wanted, strict=True)
    )
    ig = classes[WHITE.index(CellType.IG)].corrected
    return Differential(
        question=question,
        cells=tally.cells,
        rejected=tally.rejected,
        in_review=int(review.sum()),
        labelled=int(labelled.sum()),
        white=white,
        classes=classes,
        erythroblasts=Erythroblasts(
            counted=int(counted[_ERYTHROBLAST]),
            in_review=int(review[_ERYTHROBLAST]),
            labelled=int(labelled[_ERYTHROBLAST]),
            raw=_percent(counted[_ERYTHROBLAST] / white, raw[:, _ERYTHROBLAST]),
            corrected=_percent(shares[_ERYTHROBLAST], corrected[:, _ERYTHROBLAST]),
        ),
        platelets=int(counted[CellType.PLATELET.position]),
        ig=IgFlag(limit=question.ig_limit, share=ig, above=_above(ig, question.ig_limit)),
        measured_on={cell: int(confusion[cell.position].sum()) for cell in CELL_TYPES},
    )


def estimates(
    answers: NDArray[np.integer], confusion: NDArray[np.integer], labelled: NDArray[np.integer] | int = 0
) -> NDArray[np.float64]:
    """Corrected shares: of the white types among the white cells, of the others for each white cell; shape (..., 8)."""
    shares = most_likely(answers, confusion, labelled)
    for_each = shares / np.maximum(shares[..., _WHITE].sum(axis=-1, keepdims=True), 1e-12)
    return np.asarray(np.minimum(for_each, _MOST))


def raw_intervals(answers: NDArray[np.integer], level: float) -> NDArray[np.float64]:
    """Exact intervals of the counted shares, as :func:`estimates` has them; shape (2, ..., 8)."""
    return _for_each_white_cell(np.stack(clopper_pearson(answers, _trials(answers), level)))


def corrected_intervals(
    answers: NDArray[np.integer],
    confusion: NDArray[np.integer],
    question: Question,
    chains: int = CHAINS,
    labelled: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """Intervals of the shares that :func:`estimates` gives, from so many chains of draws; shape (2, ..., 8)."""
    rng = np.random.default_rng(question.seed)
    counts = true_counts(answers, confusion, rng, chains, known=labelled)
    return _for_each_white_cell(np.stack(mixed_clopper_pearson(counts, _trials(counts), rng, question.level)))


def more_cells(
    answers: NDArray[np.integer],
    confusion: NDArray[np.integer],
    question: Question,
    labelled: NDArray[np.integer] | None = None,
) -> tuple[int | None, ...]:
    """White cells to count beyond those that were, for the wanted precision of each white type.

    It is looked up on the intervals that the same smear would have with 2, 4, 8, 16 and 64 times its cells, as many in
    a hundred of them labelled by a person.
    """
    many = np.broadcast_to(confusion, (len(_FACTORS), *confusion.shape))
    known = np.zeros_like(answers) if labelled is None else labelled
    low, high = corrected_intervals(
        answers * _FACTORS[:, None], many, question, _CHAINS_OF_A_PLAN, known * _FACTORS[:, None]
    )
    half_widths = np.minimum.accumulate(50 * (high - low)[:, _WHITE], axis=0)
    white = int((answers + known)[_WHITE].sum())
    found: list[int | None] = []
    for widths in half_widths.T:
        if widths[-1] > question.half_width:
            found.append(None)
            continue
        # between two factors the width falls as a power of the number of cells
        factor = np.exp(np.interp(-np.log(question.half_width), -np.log(widths), np.log(_FACTORS)))
        found.append(int(np.ceil(white * (float(factor) - 1))))
    return tuple(found)


def _vector(counts: Mapping[CellType, int]) -> NDArray[np.int64]:
    return np.array([counts.get(cell, 0) for cell in CELL_TYPES], dtype=np.int64)


def _trials(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """What each count is one of: the white cells, and for the other types these and itself; at least 1."""
    trials = np.repeat(counts[..., _WHITE].sum(axis=-1, keepdims=True), len(CELL_TYPES), axis=-1)
    others = [_ERYTHROBLAST, CellType.PLATELET.position]
    trials[..., others] += counts[..., others]
    return np.asarray(np.maximum(trials, 1), dtype=np.int64)


def _for_each_white_cell(ends: NDArray[np.float64]) -> NDArray[np.float64]:
    """A share p of erythroblasts among them and the white cells is p / (1 - p) for each white cell."""
    others = [_ERYTHROBLAST, CellType.PLATELET.position]
    ends[..., others] = np.minimum(ends[..., others] / np.maximum(1 - ends[..., others], 1e-9), _MOST)
    return ends


def _percent(value: float, ends: NDArray[np.float64]) -> Share:
    return Share.of(100 * float(value), 100 * float(ends[0]), 100 * float(ends[1]))


def _above(share: Share, limit: float) -> Flagged:
    if share.low > limit:
        return Flagged.YES
    return Flagged.NO if share.high <= limit else Flagged.CANNOT_BE_TOLD
