"""What a promotion needs beside the rule: both models on the same sealed images, one at a time, and its record."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from bloodyspy.dataset.manifest import digest
from bloodyspy.dataset.version import read_dataset
from bloodyspy.errors import PromotionError
from bloodyspy.evaluation.scoring import digest_of, part_of, predict, score_predictions
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.classifier import Classifier
from bloodyspy.params import Params
from bloodyspy.promotion.gate import Contender, Decision
from bloodyspy.settings import Settings

DECISION = "decision"
"""Tag of a version: the whole :class:`Decision` as JSON."""

PATIENCE = 60.0  # seconds to wait for another promotion


def newest(name: str, s: Settings) -> Artefact:
    """The assembled model of a candidate, made of the data set as it is listed now.

    Raises:
        PromotionError: it was made of another list of images, so that the sealed part may not be sealed for it.
        ArtefactInvalid: it is damaged.
    """
    artefact = Artefact.open(s.artefact(name))
    if artefact.spec.manifest_digest != digest(s.manifest):
        raise PromotionError(
            f"The model of {name} was made of another list of images than {s.manifest}. "
            "Run `dvc repro` to its end first."
        )
    return artefact


def contend(number: int, artefact: Path, s: Settings, p: Params) -> Contender:
    """Score a version on the sealed part as it is now, on the road that the service walks.

    Scores that a model brings along are not used: a champion of last year was scored on last year's sealed images.

    Raises:
        DataMissing, DataError: there is no manifest, or no sealed image.
        ArtefactInvalid, PreprocessMismatch: the model cannot be used here.
    """
    rows = part_of(s, "test")
    classifier = Classifier.load(artefact, s.threads)
    predictions = predict(classifier, s, p, rows)
    return Contender(
        version=number,
        metrics=score_predictions(predictions),
        test_digest=digest_of(rows),
        synthetic=read_dataset(s.data).synthetic,
        trained_on_drawn=classifier.spec.synthetic,
    )


@contextmanager
def one_at_a_time(s: Settings) -> Iterator[None]:
    """Nobody else promotes while the block runs; a killed holder lets go.

    Raises:
        PromotionError: another promotion takes longer than a minute.
    """
    s.state.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(s.state / "promotion.lock", timeout=PATIENCE):
            yield
    except Timeout as exc:
        raise PromotionError(
            f"Another promotion is running; waited {PATIENCE:.0f} s for it. "
            "Run `python -m pipelines promote` again when it ends."
        ) from exc


def annotation(decision: Decision) -> dict[str, str]:
    """Tags that keep a decision on the challenger's version: a few to look at and search by, and the whole of it."""
    measured = {criterion.name: criterion.value for criterion in decision.criteria if criterion.value is not None}
    return {
        "outcome": str(decision.outcome),
        "compared_with": "nobody" if decision.champion is None else str(decision.champion),
        "test_digest": decision.test_digest,
        "test_images": f"{decision.images}{' synthetic' if decision.synthetic else ''}",
        **{name.replace(" ", "_"): f"{value:.4f}" for name, value in measured.items()},
        DECISION: decision.model_dump_json(),
    }


def recorded(tags: Mapping[str, str]) -> Decision | None:
    """The decision that :func:`annotation` put among a version's tags; None where nobody decided about it here.

    Raises:
        PromotionError: the record was edited.
    """
    if DECISION not in tags:
        return None
    try:
        return Decision.model_validate_json(tags[DECISION])
    except ValidationError as exc:
        raise PromotionError(
            f"The tag {DECISION!r} of the version is no decision of this version of BloodySpy ({exc.error_count()} "
            "faults). Remove the tag in the MLflow UI and promote again."
        ) from exc
