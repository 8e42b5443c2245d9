"""Who may answer patients' pictures: the rule of params.yaml applied to two models that were scored on the same images.

Pure: no files, no tools. A refusal is a result; only a comparison that cannot be made is an error.
"""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from bloodyspy import params
from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import PromotionError
from bloodyspy.evaluation.metrics import Metrics


class Outcome(StrEnum):
    """What came of a challenge."""

    PROMOTED = "promoted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Contender:
    """A registered version and how it did on the sealed part."""

    version: int
    metrics: Metrics
    test_digest: str
    """Identity of the sealed images it was scored on."""
    synthetic: bool
    """Whether those images were drawn."""
    trained_on_drawn: bool = False
    """Whether the images it was trained on were."""


class Criterion(BaseModel):
    """One thing that was asked of the challenger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | None = Field(description="None where it could not be measured")
    limit: float
    passed: bool
    sentence: str


class Decision(BaseModel):
    """What was decided about a challenger, and why. Kept with the version in the registry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Outcome
    summary: str
    """One sentence for people."""
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


def decide(challenger: Contender, champion: Contender | None, rule: params.Promotion) -> Decision:
    """Apply the rule: every floor holds, and the champion is beaten by more than the minimum gain.

    The first champion has nobody to beat; the floors hold for it all the same.

    Raises:
        PromotionError: the two were not scored on the same images.
    """
    if champion is not None and champion.test_digest != challenger.test_digest:
        raise PromotionError(
            f"Version {challenger.version} was scored on the sealed images {challenger.test_digest[:12]}, the champion "
            f"(version {champion.version}) on {champion.test_digest[:12]}. Score both on the same images: "
            "`python -m pipelines promote`."
        )
    criteria = _floors(challenger.metrics, rule.floors)
    if champion is not None:
        criteria.append(_gain(challenger, champion, rule))
        if challenger.trained_on_drawn and not champion.trained_on_drawn:
            criteria.append(_DRAWN)
    failed = [criterion for criterion in criteria if not criterion.passed]
    outcome = Outcome.REFUSED if failed else Outcome.PROMOTED
    return Decision(
        outcome=outcome,
        summary=_summary(challenger, champion, criteria, failed),
        criteria=tuple(criteria),
        challenger=challenger.version,
        champion=None if champion is None else champion.version,
        images=challenger.metrics.n,
        test_digest=challenger.test_digest,
        synthetic=challenger.synthetic,
    )


_DRAWN = Criterion(
    name="trained on photographs",
    value=None,
    limit=1.0,
    passed=False,
    sentence="the challenger was trained on drawn cells and the champion on photographs: drawings never replace those.",
)


def _floors(metrics: Metrics, floors: params.Floors) -> list[Criterion]:
    values = {
        "accuracy": (metrics.accuracy.value, floors.accuracy),
        "balanced accuracy": (metrics.balanced_accuracy.value, floors.balanced_accuracy),
    }
    criteria = [_floor(name, value, limit) for name, (value, limit) in values.items()]
    for cell in CELL_TYPES:
        estimate = metrics.sensitivity.get(cell)
        name = f"sensitivity of {cell}"
        if estimate is None:
            sentence = f"{name}: the sealed part has no such image, so it cannot be measured."
            criteria.append(Criterion(name=name, value=None, limit=floors.sensitivity, passed=False, sentence=sentence))
        else:
            criteria.append(_floor(name, estimate.value, floors.sensitivity))
    return criteria


def _floor(name: str, value: float, limit: float) -> Criterion:
    passed = value >= limit
    sentence = f"{name} {value:.4f} is {'at least' if passed else 'below'} the floor of {limit:.4f}."
    return Criterion(name=name, value=value, limit=limit, passed=passed, sentence=sentence)


def _gain(challenger: Contender, champion: Contender, rule: params.Promotion) -> Criterion:
    name = rule.metric.replace("_", " ").replace("f1", "F1")
    new, old = (contender.metrics.estimates()[rule.metric].value for contender in (challenger, champion))
    gain = new - old
    passed = gain > rule.minimum_gain
    sentence = (
        f"{name} {new:.4f} against {old:.4f} of the champion (version {champion.version}) is a gain of {gain:+.4f}, "
        f"{'' if passed else 'not '}more than the {rule.minimum_gain:.4f} that is asked for."
    )
    return Criterion(name=f"gain in {name}", value=gain, limit=rule.minimum_gain, passed=passed, sentence=sentence)


def _summary(
    challenger: Contender, champion: Contender | None, criteria: list[Criterion], failed: list[Criterion]
) -> str:
    images = f"{challenger.metrics.n} sealed {'synthetic ' if challenger.synthetic else ''}images"
    against = "there was no champion" if champion is None else f"compared with version {champion.version}"
    if failed:
        reasons = " ".join(criterion.sentence for criterion in failed)
        return f"Version {challenger.version} was refused on {images} ({against}): {reasons}"
    reason = f"all {len(criteria)} criteria are met"
    if champion is not None:
        reason += f", {criteria[-1].sentence.removesuffix('.')}"
    return f"Version {challenger.version} was promoted on {images} ({against}): {reason}."
