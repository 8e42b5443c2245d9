"""Operating characteristics of the gate: which challengers it lets through, drawn with known true differences.

A drawn image is one of three kinds. A *clear* one is answered rightly by both models in every position, a *hard* one
wrongly. An *unclear* one depends on the position: each model has its own share of positions that it answers rightly,
drawn from a Beta distribution, as two trainings of the same recipe have. What makes a challenger truly better or worse
is whole images: hard ones that it answers, or clear ones that it does not. That is a hard case for a gate: the same
difference spread over positions varies less.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bloodyspy import params
from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.evaluation.intervals import Estimate, wilson
from bloodyspy.evaluation.metrics import Metrics
from bloodyspy.promotion.gate import Contender, Export, Sealed, Stressed, decide

POSITIONS = 8
UNCLEAR = 0.6
"""Share of a model's errors that depend on the position."""
CONCENTRATION = 4.0
"""Both parameters of the Beta distribution. The two make drawn models disagree as five trainings of one recipe do on
real images: in one position, and on the average of eight; measured in docs/results/gate.md."""


@dataclass(frozen=True, slots=True)
class World:
    """What challengers are drawn from: the sealed part, and the champion on it."""

    images: Mapping[CellType, int]
    """Sealed images of each type."""
    sensitivity: Mapping[CellType, float]
    """Of the champion: what it truly has, 0 to 1."""

    @classmethod
    def of(cls, images: Mapping[CellType, int], measured: Metrics) -> "World":
        """Champions like the one that was measured, on another part.

        A type without an error is not taken for one that can have none: one image in n + 2 is added to either side
        (Laplace's rule).

        Args:
            images: of the types that the sealed part has.
            measured: on a part that is not sealed.
        """
        hits = {cell: round(share.value * measured.support[cell]) for cell, share in measured.sensitivity.items()}
        return cls(
            images,
            {cell: (hits.get(cell, 0) + 1) / (measured.support[cell] + 2) for cell in images},
        )

    @property
    def words(self) -> str:
        """Sizes and sensitivities, for below a table."""
        each = ", ".join(f"{n} {cell} ({self.sensitivity[cell]:.1%})" for cell, n in self.images.items())
        return f"Sealed images and what the champion is supposed to answer rightly: {each}."


@dataclass(frozen=True, slots=True)
class Scenario:
    """Challengers of one kind."""

    name: str
    differences: Mapping[CellType, float]
    """True sensitivity minus the champion's, as far as there is room up to 1; types that are not named have none."""
    promote: bool | None
    """Whether these should be promoted; None where either is well."""


class Characteristic(BaseModel):
    """How often challengers of one kind were promoted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: str
    should: bool | None
    """Whether they should be promoted; None where either is well."""
    promoted: Estimate
    """Share that the gate promoted."""
    one_position: Estimate
    """The same with each image asked in one position instead of eight."""
    point_estimates: Estimate
    """Share that the usual rule promotes: macro sensitivity not lower, no type more than two points down."""

    @property
    def wanted(self) -> str:
        """Whether they should be promoted, in a word."""
        return {True: "promoted", False: "refused", None: "either"}[self.should]

    @property
    def shares(self) -> tuple[Estimate, Estimate, Estimate]:
        """Promoted by this gate, by it with one position an image, by the usual rule."""
        return self.promoted, self.one_position, self.point_estimates


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("the same recipe, trained again", {}, promote=None),
    Scenario("one point better everywhere", dict.fromkeys(CELL_TYPES, 0.01), promote=True),
    Scenario(
        "two points worse on ig, 0.8 better elsewhere",
        {**dict.fromkeys(CELL_TYPES, 0.008), CellType.IG: -0.02},
        promote=False,
    ),
    Scenario("two points worse on ig", {CellType.IG: -0.02}, promote=False),
    Scenario("four points worse on ig", {CellType.IG: -0.04}, promote=False),
    Scenario("four points worse on erythroblasts", {CellType.ERYTHROBLAST: -0.04}, promote=False),
    Scenario("four points worse on basophils", {CellType.BASOPHIL: -0.04}, promote=False),
    Scenario("half a point worse everywhere", dict.fromkeys(CELL_TYPES, -0.005), promote=False),
    Scenario("one point worse everywhere", dict.fromkeys(CELL_TYPES, -0.01), promote=False),
)
"""The kinds of challengers that the table tells of."""


def simulate(
    world: World, rule: params.Promotion, scenario: Scenario, challengers: int, seed: int = 0
) -> Characteristic:
    """Let the gate itself decide about drawn challengers of one kind.

    Floors and limits are met by all of them: what is asked is how well the comparison tells models apart.

    Args:
        world: what is drawn from.
        rule: of the gate.
        scenario: the kind.
        challengers: how many, at least 1.
        seed: of the draws.
    """
    rule = rule.model_copy(update={"floors": params.Floors(accuracy=0, balanced_accuracy=0, sensitivity=0)})
    rng = np.random.default_rng(seed)
    promoted = np.zeros(3, dtype=np.int64)
    for _ in range(challengers):
        labels, old, new = _draw(world, scenario, rng)
        promoted += (
            _decided(labels, old, new, rule),
            _decided(labels, old[:, :1], new[:, :1], rule),
            _usual_rule(labels, old[:, 0], new[:, 0]),
        )
    eight, one, usual = (wilson(int(count), challengers) for count in promoted)
    return Characteristic(
        scenario=scenario.name, should=scenario.promote, promoted=eight, one_position=one, point_estimates=usual
    )


def _draw(
    world: World, scenario: Scenario, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Labels (n,), and whether champion and challenger are right (n, 8)."""
    labels, old, new = [], [], []
    for cell, images in world.images.items():
        wrong = 1 - world.sensitivity[cell]
        unclear = 2 * min(UNCLEAR * wrong, 1 - wrong)  # half of the unclear answers are wrong
        hard = wrong - unclear / 2
        kind = rng.choice(3, size=images, p=[hard, unclear, 1 - hard - unclear])
        champion, challenger = (_chances(kind, rng) for _ in range(2))
        _shift(challenger, kind, scenario.differences.get(cell, 0.0), (hard, unclear), rng)
        labels.append(np.full(images, cell.position))
        old.append(rng.random((images, POSITIONS)) < champion[:, None])
        new.append(rng.random((images, POSITIONS)) < challenger[:, None])
    return np.concatenate(labels), np.concatenate(old), np.concatenate(new)


_HARD, _UNCLEAR, _CLEAR = range(3)


def _chances(kind: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Chance of each image that a position of it is answered rightly."""
    chances = np.where(kind == _CLEAR, 1.0, 0.0)
    return np.where(kind == _UNCLEAR, rng.beta(CONCENTRATION, CONCENTRATION, len(kind)), chances)


def _shift(
    chances: NDArray[np.float64],
    kind: NDArray[np.int64],
    difference: float,
    shares: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Make a challenger truly better or worse by a difference: hard and then unclear images won, or clear ones lost."""
    hard, unclear = shares
    luck = rng.random(len(kind))
    if difference < 0:
        chances[(kind == _CLEAR) & (luck * (1 - hard - unclear) < -difference)] = 0.0
        return
    from_hard = min(difference, hard)
    from_unclear = min(difference - from_hard, unclear / 2)
    if hard:
        chances[(kind == _HARD) & (luck < from_hard / hard)] = 1.0
    if unclear:
        chances[(kind == _UNCLEAR) & (luck < from_unclear / (unclear / 2))] = 1.0


def _decided(labels: NDArray[np.int64], old: NDArray[np.bool_], new: NDArray[np.bool_], rule: params.Promotion) -> bool:
    champion, challenger = (
        Contender(
            version=version,
            network=str(version),
            sealed=Sealed(digest="drawn", labels=labels, right=right, calibration_error=0.0, synthetic=True),
            stressed=Stressed(error=Estimate(value=0, low=0, high=0), digest="drawn"),
            milliseconds=0.0,
            megabytes=0.0,
            export=Export("drawn", differ=0, images=1),
            card_fault=None,
        )
        for version, right in ((1, old), (2, new))
    )
    return decide(challenger, champion, rule).promoted


def _usual_rule(labels: NDArray[np.int64], old: NDArray[np.bool_], new: NDArray[np.bool_]) -> bool:
    gains = [float(new[labels == cell].mean() - old[labels == cell].mean()) for cell in np.unique(labels)]
    return float(np.mean(gains)) >= 0 and min(gains) >= -0.02
