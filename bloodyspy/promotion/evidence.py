"""What is known of a version when it is judged: its answers on the sealed part as it is now, and what it brings."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.manifest import digest
from bloodyspy.dataset.version import read_dataset
from bloodyspy.errors import ArtefactInvalid, DataError, PromotionError
from bloodyspy.evaluation import stress
from bloodyspy.evaluation.comparison import read_comparison, read_scores
from bloodyspy.evaluation.model_card.markdown import markdown
from bloodyspy.evaluation.model_card.page import page
from bloodyspy.evaluation.model_card.writing import card_of
from bloodyspy.evaluation.scores import Scores
from bloodyspy.evaluation.scoring import digest_of, inputs_of, labels_of
from bloodyspy.images.positions import EIGHT, placed
from bloodyspy.model.artifact import CARD, CARD_HTML, INFERENCE, NETWORK, Artefact, read_digests
from bloodyspy.model.calibration import expected_calibration_error
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.inference_report import InferenceReport
from bloodyspy.params import Params
from bloodyspy.promotion import ledger, trail
from bloodyspy.promotion.events import Looked, Why
from bloodyspy.promotion.gate import Contender, Export, Sealed, Stressed
from bloodyspy.promotion.history import withdrawn
from bloodyspy.promotion.simulation import World
from bloodyspy.settings import Settings

_BATCH = 64


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
    """Score a version on the sealed part as it is now, on the road that the service walks, in eight positions.

    Scores that a model brings along are not used: a champion of last year was scored on last year's sealed images. Its
    stress is taken over where it was measured on the very pictures that are chosen now, and measured anew otherwise.

    Raises:
        DataMissing, DataError: there is no manifest, or no sealed image.
        AuditError: the look cannot be recorded.
        ArtefactInvalid, PreprocessMismatch: the model cannot be used here.
    """
    classifier = Classifier.load(artefact, s.threads)
    rows = ledger.for_version(s, Why.PROMOTION, classifier.artefact, number)
    scores = read_scores(classifier.artefact)
    return Contender(
        version=number,
        network=_network(classifier.artefact),
        sealed=_sealed(classifier, s, p, rows),
        stressed=_stressed(classifier, scores, s, p, rows),
        milliseconds=scores.cost.milliseconds_picture,
        megabytes=scores.cost.megabytes_graph,
        export=_export(artefact),
        card_fault=card_fault(artefact),
        trained_on_drawn=classifier.spec.synthetic,
        withdrawn=_withdrawn(number, read_digests(artefact)[NETWORK], s),
    )


def world(candidate: str | None, s: Settings) -> World:
    """Champions like a candidate, the best if none is named, at the sizes of the sealed part.

    Sealed images are counted, not looked at: what the candidate answers rightly is known of the validation part.

    Raises:
        DataMissing, DataError: there is no manifest, a type without a sealed image, or no candidate was evaluated.
    """
    images = ledger.sizes(s)
    if absent := [cell for cell in CELL_TYPES if cell not in images]:
        raise DataError(f"The sealed part has no {', '.join(absent)}: no challenger could be promoted. Import some.")
    measured = read_scores(newest(candidate or read_comparison(s).best, s)).validation
    return World.of(images, measured)


def card_fault(artefact: Path) -> str | None:
    """What is wrong with a model card: a fact is missing, or it tells something else than the artefact's files."""
    try:
        card = card_of(artefact)
    except ArtefactInvalid as exc:
        return exc.fault
    for name, told in ((CARD, markdown(card)), (CARD_HTML, page(card))):
        if (artefact / name).read_text(encoding="utf-8") != told:
            return f"{name} does not tell what the artefact's files hold"
    return None


def _withdrawn(number: int, network: str, s: Settings) -> str | None:
    """Why a version was rolled back, or another one of the same network: assembled anew it gets another number."""
    entries = trail.entries(s)
    looks = [entry.event for entry in entries if isinstance(entry.event, Looked)]
    same = {look.version for look in looks if look.network == network and look.version is not None}
    for version in (number, *sorted(same - {number})):
        if (found := withdrawn(version, entries)) is not None:
            return found.reason if version == number else f"as version {version}: {found.reason}"
    return None


def _network(artefact: Artefact) -> str:
    graph = read_digests(artefact.path)[artefact.spec.graph]
    return sha256(f"{graph} {artefact.spec.temperature!r}".encode()).hexdigest()


def _sealed(classifier: Classifier, s: Settings, p: Params, rows: pd.DataFrame) -> Sealed:
    inputs, labels = inputs_of(classifier.spec.input, s, p, rows), labels_of(rows["cell_type"])

    def answer(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches = range(0, len(pictures), _BATCH)
        return np.concatenate([classifier.probabilities(pictures[i : i + _BATCH]) for i in batches])

    answers = np.stack([answer(placed(inputs, *position)) for position in EIGHT])
    right = labels[:, None] == answers.argmax(axis=2).T
    return Sealed(
        digest=digest_of(rows),
        labels=labels,
        right=right,
        calibration_error=expected_calibration_error(right[:, 0], answers[0].max(axis=1)),
        synthetic=read_dataset(s.data).synthetic,
    )


def _stressed(classifier: Classifier, scores: Scores, s: Settings, p: Params, rows: pd.DataFrame) -> Stressed:
    known = scores.stress
    if known.digest != digest_of(stress.choose(rows, p.evaluation.stress_per_class)):
        known = stress.measure(classifier, s, p, rows)
    return Stressed(error=known.mean_balanced_error, digest=known.digest)


def _export(artefact: Path) -> Export:
    report = InferenceReport.model_validate_json((artefact / INFERENCE).read_bytes())
    return Export(report.choice.name, report.choice.classes_differ, report.images_compared)
