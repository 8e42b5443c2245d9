"""The limits of the answer policy, at stated shares of error on pictures that trained nothing: the calibration part."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from bloodyspy.cells import CELL_TYPES
from bloodyspy.images.statistics import ImageStatistics
from bloodyspy.model.familiarity import Familiarity, compared
from bloodyspy.params import Answers
from bloodyspy.policy import AnswerPolicy, Band, Limits, Quality, Reason

# What a statistic says is wrong with a picture: too little of it, too much, or either.
_QUALITIES: Mapping[Reason, Mapping[str, tuple[bool, bool]]] = {
    Reason.FOCUS: {"sharpness": (True, False), "edges": (True, False)},
    Reason.EXPOSURE: {"brightness": (True, True), "background": (True, True), "darkest": (False, True)},
    Reason.STAIN: dict.fromkeys(("green_red", "blue_yellow", "stain_spread", "saturation"), (True, True)),
}
_NORMAL = 1.349  # quartiles of a normal distribution lie so many standard deviations apart


def fit_familiarity(
    seen: NDArray[np.float32], statistics: Sequence[ImageStatistics], directions: int = 64
) -> Familiarity:
    """What the training pictures are like.

    The covariance of the statistics is shrunk (Ledoit & Wolf 2004), each in units of its own spread: some hardly vary.

    Args:
        seen: pooled feature maps of the training part, (n, channels), n at least 2.
        statistics: of the same pictures, n of them.
        directions: at most so many, and at most a quarter of the channels, or nothing would be left outside.
    """
    middle = seen.astype(np.float64).mean(axis=0)
    kept = max(1, min(directions, seen.shape[1] // 4, len(seen) - 1))
    values, vectors = np.linalg.eigh(np.cov(seen, rowvar=False).reshape(seen.shape[1], seen.shape[1]))  # rising order
    told = np.array([compared(one) for one in statistics])
    ordinary, unit = told.mean(axis=0), np.maximum(told.std(axis=0), 1e-6)
    spread, _ = ledoit_wolf((told - ordinary) / unit, assume_centered=True)
    variances, turned = np.linalg.eigh(spread)
    axes = turned / np.sqrt(np.maximum(variances, 1e-6))
    return Familiarity(
        seen=middle.astype(np.float32),
        directions=vectors[:, -kept:].astype(np.float32),
        spread=np.sqrt(np.maximum(values[-kept:], 1e-12)),
        ordinary=ordinary,
        axes=axes / unit[:, None],
    )


def fit_policy(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    novelty: NDArray[np.float64],
    foreignness: NDArray[np.float64],
    statistics: Sequence[ImageStatistics],
    wanted: Answers,
) -> AnswerPolicy:
    """The limits that keep the stated shares on the calibration part.

    Args:
        labels: true types, (n,), 0 to 7; n at least 1.
        probabilities: calibrated, (n, 8).
        novelty, foreignness: of the same pictures, (n,).
        statistics: of the same pictures, n of them.
        wanted: the shares.
    """
    least, miscoverage = {}, {}
    for cell in CELL_TYPES:
        own = np.sort(probabilities[labels == cell.position, cell.position])
        least[cell], miscoverage[cell] = _conformal(own, wanted.miscoverage)
    draft = AnswerPolicy(
        images=len(labels),
        least_probability=least,
        miscoverage=miscoverage,
        least_confidence=0.0,
        error=wanted.error,
        novelty=_limits(novelty, wanted),
        foreignness=_limits(foreignness, wanted),
        refused=wanted.refused,
        qualities=tuple(_quality(reason, statistics, wanted.quality) for reason in _QUALITIES),
    )
    passed = [
        not draft.judge(*one).reasons for one in zip(probabilities, novelty, foreignness, statistics, strict=True)
    ]
    right = probabilities.argmax(axis=1) == labels
    floor = _floor(right[passed], probabilities.max(axis=1)[passed], wanted.error)
    return draft.model_copy(update={"least_confidence": floor})


def _conformal(own: NDArray[np.floating], miscoverage: float) -> tuple[float, float]:
    """The least probability at which a type stays plausible, and the share of its cells that may lie below.

    Of n + 1 exchangeable cells each is equally likely to be the one with the k-th smallest probability, so the next one
    lies below the k-th of n with a probability of at most k / (n + 1). So few that no k keeps the share promise what
    their smallest promises.

    Args:
        own: probabilities that a type's calibration cells have of their own type, sorted.
        miscoverage: the share wanted.
    """
    if not len(own):
        return 0.0, 0.0
    k = max(1, int(np.floor(miscoverage * (len(own) + 1))))
    return float(own[k - 1]), max(miscoverage, 1 / (len(own) + 1))


def _limits(distances: NDArray[np.float64], wanted: Answers) -> Limits:
    return Limits(review=_limit(distances, wanted.strange), reject=_limit(distances, wanted.refused))


def _limit(values: NDArray[np.float64], share: float) -> float:
    """What at most a share of such values exceeds, by the same count; the largest where they are too few."""
    k = max(1, int(np.floor(share * (len(values) + 1))))
    return float(np.sort(values)[-k])


def _quality(reason: Reason, statistics: Sequence[ImageStatistics], share: float) -> Quality:
    bands = tuple(
        _band(name, np.array([getattr(one, name) for one in statistics], np.float64), below=below, above=above)
        for name, (below, above) in _QUALITIES[reason].items()
    )
    draft = Quality(reason=reason, bands=bands, limit=0.0)
    return draft.model_copy(update={"limit": _limit(np.array([draft.distance(one) for one in statistics]), share)})


def _band(name: str, values: NDArray[np.float64], *, below: bool, above: bool) -> Band:
    first, middle, third = np.quantile(values, (0.25, 0.5, 0.75))
    spread = (third - first) / _NORMAL or 1.0  # where they do not vary any unit will do: a limit is a multiple of it
    return Band(statistic=name, middle=float(middle), spread=float(spread), below=below, above=above)


def _floor(right: NDArray[np.bool_], confidence: NDArray[np.floating], error: float) -> float:
    """The lowest confidence from which on at most that share of answers is wrong; 1 where none keeps it."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    # answers equally sure go out together or not at all
    taken = np.searchsorted(-ranked, -ranked, side="right")
    risks = np.cumsum(~right[order])[taken - 1] / taken
    kept = np.flatnonzero(risks <= error)
    return float(ranked[kept[-1]]) if len(kept) else 1.0
