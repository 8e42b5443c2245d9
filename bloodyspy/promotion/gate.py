"""Who may answer patients' pictures: the rule of params.yaml applied to two models that were scored on the same images.

Pure: no files, no tools. A refusal is a result; only a comparison that cannot be made is an error.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bloodyspy import params
from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import PromotionError
from bloodyspy.evaluation.intervals import LEVEL, Estimate, wilson
from bloodyspy.params import Beyond, Policy
from bloodyspy.promotion import paired
from bloodyspy.promotion.agreement import Agreement
from bloodyspy.promotion.decision import Criterion, Decision, Looks, Outcome


@dataclass(frozen=True, slots=True)
class Sealed:
    """How a model answered the sealed images, each in its eight positions; the first is the one it came in."""

    digest: str
    """Identity of the images."""
    labels: NDArray[np.int64]
    """Positions of their cell types, shape (n,)."""
    right: NDArray[np.bool_]
    """Whether the answer was right, shape (n, 8)."""
    calibration_error: float
    """Of the answers in the first position, 0 to 1."""
    synthetic: bool
    """Whether the images are drawn."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of positions that were answered rightly, shape (n,)."""
        return np.asarray(self.right.mean(axis=1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Stressed:
    """The stress suite's one number."""

    error: Estimate
    """Mean balanced error over all corruptions."""
    digest: str
    """Identity of the pictures that were corrupted."""


@dataclass(frozen=True, slots=True)
class Export:
    """A graph beside the network it came from."""

    variant: str
    """Runtime and precision."""
    differ: int
    """Images that get another class."""
    images: int
    """Compared, of the validation part; at least 1."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A registered version: how it did on the sealed images, and what it brings along."""

    version: int
    network: str
    """Identity of what answers: the graph and its temperature, whatever else lies beside them."""
    sealed: Sealed
    stressed: Stressed
    milliseconds: float
    """A picture takes from its bytes to its answer."""
    megabytes: float
    """Of the graph that serves, 10^6 bytes."""
    export: Export
    """The graph beside the network it came from."""
    card_fault: str | None
    """What the model card lacks; None where it is complete."""
    trained_on_drawn: bool = False
    """Whether the images it was trained on were drawn."""
    withdrawn: str | None = None
    """Why it was rolled back; None where it was not, or was released again since."""


def decide(
    challenger: Contender,
    champion: Contender | None,
    rule: params.Promotion,
    looks: Looks | None = None,
    agreement: Agreement | None = None,
) -> Decision:
    """Apply the rule: floors and limits hold, and the champion is beaten as the policy asks.

    Not worse than the champion means: overall, and for each safety class, the images speak against its being worse by
    the margin or more. The first champion has nobody to be held against; floors and limits hold for it all the same.

    Args:
        challenger: who wants to answer.
        champion: who does now.
        rule: of params.yaml.
        looks: how often the sealed images were used, these two included; None leaves that out.
        agreement: of the two on live pictures; None where the challenger did not answer in the shadow.

    Raises:
        PromotionError: the two were not scored on the same images with the same labels.
    """
    criteria = [*_floors(challenger, rule.floors), *_limits(challenger, rule.limits)]
    if challenger.withdrawn is not None:
        criteria.append(_withdrawn(challenger.withdrawn))
    if looks is not None:
        criteria.append(_looks(looks, rule))
        if looks.networks > rule.looks.limit and rule.looks.beyond is Beyond.CORRECT:
            rule = rule.model_copy(update={"level": rule.level / looks.challengers})
    if champion is not None:
        _check_comparable(challenger, champion)
        if challenger.network == champion.network:
            criteria.append(_SAME)
        criteria += [*_against(challenger, champion, rule), _stress(challenger, champion, rule.limits)]
        if agreement is not None:
            criteria.append(_agreement(agreement, rule.limits.agreement))
        if challenger.trained_on_drawn and not champion.trained_on_drawn:
            criteria.append(_DRAWN)
    failed = [criterion for criterion in criteria if not criterion.passed]
    return Decision(
        outcome=Outcome.REFUSED if failed else Outcome.PROMOTED,
        summary=_summary(challenger, champion, criteria, failed),
        policy=rule.policy,
        level=rule.level,
        looks=looks,
        criteria=tuple(criteria),
        challenger=challenger.version,
        champion=None if champion is None else champion.version,
        images=len(challenger.sealed.labels),
        test_digest=challenger.sealed.digest,
        synthetic=challenger.sealed.synthetic,
    )


def _check_comparable(challenger: Contender, champion: Contender) -> None:
    new, old = challenger.sealed, champion.sealed
    if new.digest != old.digest:
        raise PromotionError(
            f"Version {challenger.version} was scored on the sealed images {new.digest[:12]}, the champion (version "
            f"{champion.version}) on {old.digest[:12]}. Score both on the same images: `python -m pipelines promote`."
        )
    if not np.array_equal(new.labels, old.labels):
        raise PromotionError(
            f"Version {challenger.version} and the champion (version {champion.version}) were scored on the same "
            "images, but against different labels. Restore the labels (`dvc checkout data.dvc`, `dvc repro validate`) "
            "and score both again: `python -m pipelines promote`."
        )


def _floors(challenger: Contender, floors: params.Floors) -> Iterator[Criterion]:
    hits, labels = challenger.sealed.right[:, 0], challenger.sealed.labels
    sensitivity = {
        cell: wilson(int(hits[labels == cell.position].sum()), int((labels == cell.position).sum()))
        for cell in CELL_TYPES
        if (labels == cell.position).any()
    }
    yield _floor("accuracy", wilson(int(hits.sum()), len(hits)), floors.accuracy)
    balanced = float(np.mean([estimate.value for estimate in sensitivity.values()]))
    yield _floor("balanced accuracy", balanced, floors.balanced_accuracy)
    for cell in CELL_TYPES:
        name = f"sensitivity of {cell}"
        if cell in sensitivity:
            yield _floor(name, sensitivity[cell], floors.sensitivity)
        else:
            sentence = f"{name}: the sealed part has no such image, so it cannot be measured."
            yield Criterion(name=name, value=None, limit=floors.sensitivity, passed=False, sentence=sentence)


def _floor(name: str, found: Estimate | float, limit: float) -> Criterion:
    value, low, high = (found.value, found.low, found.high) if isinstance(found, Estimate) else (found, None, None)
    passed = value >= limit
    told = str(found) if isinstance(found, Estimate) else f"{found:.1%}"
    sentence = f"{name} {told} is {'at least' if passed else 'below'} the floor of {limit:.1%}."
    return Criterion(name=name, value=value, low=low, high=high, limit=limit, passed=passed, sentence=sentence)


def _limits(challenger: Contender, limits: params.Limits) -> Iterator[Criterion]:
    error = challenger.sealed.calibration_error
    yield _limit("calibration error", error, limits.calibration_error, "{:.2%}")
    yield _limit("time of a picture", challenger.milliseconds, limits.milliseconds, "{:.1f} ms")
    yield _limit("size of the graph", challenger.megabytes, limits.megabytes, "{:.1f} MB")
    yield _export(challenger.export, limits.export)
    fault = challenger.card_fault
    told = "is complete, and tells what the artefact's files hold" if fault is None else f"does not hold: {fault}"
    yield Criterion(name="model card", value=None, passed=fault is None, sentence=f"the model card {told}.")


def _export(export: Export, limit: float) -> Criterion:
    share = export.differ / export.images
    passed = share <= limit
    sentence = (
        f"{export.variant} gives {export.differ} of {export.images} validation images another class than the network "
        f"it came from, {'within' if passed else 'above'} the limit of {limit:.1%}."
    )
    return Criterion(name="export", value=share, limit=limit, passed=passed, sentence=sentence)


def _limit(name: str, value: float, limit: float, form: str) -> Criterion:
    passed = value <= limit
    sentence = f"{name} {form.format(value)} is {'within' if passed else 'above'} the limit of {form.format(limit)}."
    return Criterion(name=name, value=value, limit=limit, passed=passed, sentence=sentence)


def _looks(looks: Looks, rule: params.Promotion) -> Criterion:
    limit, beyond = rule.looks.limit, rule.looks.beyond
    over = looks.networks > limit
    told = (
        f"{looks.networks} different networks were scored on these sealed images until now, "
        f"{'more than' if over else 'within'} the limit of {limit}"
    )
    what = {
        Beyond.WARN: "a gain may be one by luck",
        Beyond.CORRECT: f"each test is held to {rule.level:g} / {looks.challengers}, the challengers until now",
        Beyond.REFUSE: "nothing is promoted by them any more",
    }[beyond]
    ask = f": {what}. Import new images: those that fall into the sealed part were never seen." if over else "."
    passed = not over or beyond is not Beyond.REFUSE
    return Criterion(name="looks", value=looks.networks, limit=limit, passed=passed, sentence=told + ask)


def _against(challenger: Contender, champion: Contender, rule: params.Promotion) -> Iterator[Criterion]:
    labels = challenger.sealed.labels
    difference = challenger.sealed.shares - champion.sealed.shares
    classes = {
        cell: paired.Counted.of(difference[labels == cell.position])
        for cell in CELL_TYPES
        if (labels == cell.position).any()
    }
    yield _overall(list(classes.values()), rule)
    if rule.policy is Policy.IMPROVEMENT:
        yield _better(list(classes.values()), challenger.sealed, champion.sealed, rule)
    margins = {cell: margin for cell, margin in rule.margins.sensitivity.items() if cell in classes}
    p_values = [paired.not_worse(classes[cell], margin) for cell, margin in margins.items()]
    corrected, levels = paired.holm(p_values), paired.holm_levels(p_values, rule.level)
    for (cell, margin), p, level in zip(margins.items(), corrected, levels, strict=True):
        yield _not_worse(cell, classes[cell], margin, p, level, passed=p <= rule.level)


def _overall(classes: list[paired.Counted], rule: params.Promotion) -> Criterion:
    margin, p = rule.margins.balanced_accuracy, paired.balanced_not_worse(classes, rule.margins.balanced_accuracy)
    gain, low, high = _gain(classes)
    passed = p <= rule.level
    sentence = (
        f"balanced accuracy, the mean over positions, differs from the champion's by {_points(gain)} "
        f"({_points(low)} to {_points(high)}, paired bootstrap): {'' if passed else 'not '}shown to be not worse by "
        f"the margin of {margin * 100:.1f} points (p {p:.3f})."
    )
    ties = [paired.Counted.of(np.zeros(counted.n)) for counted in classes]
    if not passed and paired.balanced_not_worse(ties, margin) > rule.level:
        sentence += (
            " So few images could not show it of equal answers either: import more of them, or widen "
            "`promotion.margins.balanced_accuracy`."
        )
    return Criterion(
        name="not worse in balanced accuracy",
        value=gain,
        low=low,
        high=high,
        limit=-margin,
        p=p,
        passed=passed,
        sentence=sentence,
    )


def _better(classes: list[paired.Counted], new: Sealed, old: Sealed, rule: params.Promotion) -> Criterion:
    p, (gain, low, high) = paired.balanced_not_worse(classes, 0.0), _gain(classes)
    gained = int((new.right[:, 0] & ~old.right[:, 0]).sum())
    lost = int((old.right[:, 0] & ~new.right[:, 0]).sum())
    passed = p <= rule.level
    sentence = (
        f"balanced accuracy is {'' if passed else 'not '}shown to be better: {_points(gain)}, p {p:.3f}. In the "
        f"position that they came in, {gained} images were gained and {lost} lost (exact McNemar: p "
        f"{paired.mcnemar(gained, lost):.3f})."
    )
    return Criterion(
        name="better in balanced accuracy",
        value=gain,
        low=low,
        high=high,
        limit=0.0,
        p=p,
        passed=passed,
        sentence=sentence,
    )


def _gain(classes: list[paired.Counted]) -> tuple[float, float, float]:
    """Mean over classes of their mean differences, with the 95 % percentile interval of its paired bootstrap."""
    low, high = np.quantile(paired.balanced_differences(classes), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(np.mean([counted.mean for counted in classes])), float(low), float(high)


def _not_worse(
    cell: CellType, counted: paired.Counted, margin: float, p: float, level: float, *, passed: bool
) -> Criterion:
    worst = paired.lower_bound(counted, level)
    sentence = (
        f"sensitivity of {cell} differs from the champion's by {_points(counted.mean)}, at worst by {_points(worst)} "
        f"({1 - level:.1%}, one-sided): {'' if passed else 'not '}shown to be not worse by the margin of "
        f"{margin * 100:.1f} points (p {p:.3f} after Holm's correction, {counted.n} images)."
    )
    needed = paired.images_for_a_tie(margin, level)
    if not passed and counted.n < needed:
        sentence += (
            f" So few images could not show it of equal answers either, which takes {needed}: import more of them, or "
            f"widen `promotion.margins.sensitivity.{cell}`."
        )
    return Criterion(
        name=f"not worse in sensitivity of {cell}",
        value=counted.mean,
        low=worst,
        limit=-margin,
        p=p,
        passed=passed,
        sentence=sentence,
    )


def _stress(challenger: Contender, champion: Contender, limits: params.Limits) -> Criterion:
    name = "mean balanced error under stress"
    if challenger.stressed.digest != champion.stressed.digest:
        raise PromotionError(
            f"Version {challenger.version} and the champion (version {champion.version}) were put under stress with "
            "different pictures. Measure both on the same: `python -m pipelines promote`."
        )
    new, old = challenger.stressed.error, champion.stressed.error
    more = new.value - old.value
    passed = more <= limits.stress
    sentence = (
        f"{name} is {new}, the champion's {old}: {_points(more)}, {'within' if passed else 'above'} the limit of "
        f"{limits.stress * 100:.1f} more."
    )
    return Criterion(name=name, value=more, limit=limits.stress, passed=passed, sentence=sentence)


def _agreement(found: Agreement, limit: float) -> Criterion:
    share = found.agreeing
    passed = share.high >= limit
    sentence = (
        f"on {found.pairs:,} live pictures it gave the champion's type to {share}, "
        f"{'at least' if passed else 'below'} the limit of {limit:.1%}"
        f"{'.' if passed else ': look at what they part on (`bloodyspy replay`) before anybody answers with it.'}"
    )
    return Criterion(
        name="agreement in the shadow",
        value=share.value,
        low=share.low,
        high=share.high,
        limit=limit,
        passed=passed,
        sentence=sentence,
    )


_SAME = Criterion(
    name="another model",
    value=None,
    passed=False,
    sentence="it is the champion under another number, the same graph with the same temperature: nothing to decide.",
)
_DRAWN = Criterion(
    name="trained on photographs",
    value=None,
    passed=False,
    sentence="the challenger was trained on drawn cells and the champion on photographs: drawings never replace those.",
)


def _withdrawn(reason: str) -> Criterion:
    sentence = (
        f"it was rolled back ({reason}) and is not put forward again. Train another one, or let it answer again with "
        "`bloodyspy rollback --to`."
    )
    return Criterion(name="not rolled back", value=None, passed=False, sentence=sentence)


def _points(difference: float) -> str:
    return f"{difference * 100:+.2f} points"


def _summary(
    challenger: Contender, champion: Contender | None, criteria: list[Criterion], failed: list[Criterion]
) -> str:
    images = f"{len(challenger.sealed.labels)} sealed {'synthetic ' if challenger.sealed.synthetic else ''}images"
    against = "there was no champion" if champion is None else f"compared with version {champion.version}"
    if failed:
        reasons = " ".join(criterion.sentence for criterion in failed)
        return f"Version {challenger.version} was refused on {images} ({against}): {reasons}"
    return f"Version {challenger.version} was promoted on {images} ({against}): all {len(criteria)} criteria are met."
