"""The ``evaluate`` stage: from a fit to an artefact."""

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bloodyspy.dataset.holdings import AUDITED, Statement, read_labels
from bloodyspy.dataset.manifest import digest as manifest_digest
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.dataset.version import read_dataset
from bloodyspy.errors import ArtefactInvalid
from bloodyspy.evaluation import cost, external, no_cells, seeds, selective, signatures, stress
from bloodyspy.evaluation.calibration import Reliability, calibration
from bloodyspy.evaluation.model_card.previous import read_previous
from bloodyspy.evaluation.model_card.writing import write_card
from bloodyspy.evaluation.origin import data_of
from bloodyspy.evaluation.policy_fitting import fit_familiarity, fit_policy
from bloodyspy.evaluation.scores import Scores
from bloodyspy.evaluation.scoring import (
    digest_of,
    inputs_of,
    labels_and_probabilities,
    labels_of,
    observe,
    part_of,
    predict,
    score_predictions,
    statistics_of,
    table,
)
from bloodyspy.evaluation.selective import Selective
from bloodyspy.evaluation.stress import choose as choose_pictures
from bloodyspy.evaluation.typical import typical as typical_cells
from bloodyspy.images.preprocess import golden_hash
from bloodyspy.images.statistics import STATISTICS
from bloodyspy.images.synthetic import draw_each
from bloodyspy.model import artifact, golden, precision
from bloodyspy.model.artifact import Artefact, ModelSpec
from bloodyspy.model.calibration import tempered
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.export import head_of
from bloodyspy.model.familiarity import pooled
from bloodyspy.model.fits import Fit, SeedFit, read_fit
from bloodyspy.model.inference import InferenceGraph
from bloodyspy.model.inference_report import InferenceReport
from bloodyspy.observation import ANSWERED, COLUMNS, Observation, rows
from bloodyspy.params import Candidate, Params
from bloodyspy.policy import POLICY
from bloodyspy.settings import Settings

_TYPICAL = 32  # training pictures of each type that the eight-bit graph's ranges are taken from
_TIMED = 8  # pictures of each type that the whole road is timed on
_DRAWN = 0  # seed of the golden pictures
_EMBEDDED = 512  # training pictures whose feature maps are in memory at a time

logger = logging.getLogger(__name__)


Unseal = Callable[[Fit, str], pd.DataFrame]
"""Opens the sealed part for a fit and the SHA-256 of its network's file: :func:`bloodyspy.promotion.ledger.for_fit`."""


def assemble(name: str, s: Settings, p: Params, unseal: Unseal) -> Artefact:
    """Turn ``build/fits/<name>/`` into the artefact ``build/models/<name>/``.

    Exports the network, lets the parity gate compare each runtime and precision with it on the validation part and
    choose which serves, and fits the temperature on the calibration part. What serves is then measured: scores on the
    validation and the sealed test part, the stress suite, other laboratories' folders, cost. It observes the
    calibration part as the reference of the drift check and puts a few of its pictures beside it; the card is written
    and all is sealed. The directory appears whole or not at all. Beside it: ``build/metrics/<name>.json`` (flat
    numbers), ``build/predictions/<name>.parquet`` (every answer on both parts) and ``build/plots/<name>/*.csv``.

    Raises:
        DataMissing: no fit, manifest or prepared array.
        DataError: a part is empty, or a folder of ``evaluation.external`` cannot be scored.
        ArtefactInvalid: the fit is of another manifest.
        ExportMismatch: the graph disagrees with the network.
    """
    fit = read_fit(s.fit(name))
    if fit.manifest_digest != manifest_digest(s.manifest):
        raise ArtefactInvalid(s.fit(name), "it was fitted on another manifest than the present one")
    building = s.artefact(name).with_name(f".{name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    shutil.copyfile(s.fit(name) / artifact.NETWORK, building / artifact.NETWORK)
    parts = {part: part_of(s, part) for part in ("train", "validation", "calibration")}

    report = _choose(building, fit, parts, s, p)
    _write(building / artifact.INFERENCE, report)
    spec = _spec(fit, report)
    _write(building / artifact.SPEC, spec)
    head_of(building / artifact.NETWORK).write(building)
    _fit_policy(building, spec, parts, s, p)
    _write(building / artifact.TRAINING, Training(fit=fit, kept=fit.kept, candidate=p.candidate(name)))
    dataset = read_dataset(s.data)
    _write(building / artifact.DATA, data_of(fit.data_version, fit.manifest_digest, read_manifest(s.manifest), dataset))
    # The draft has no digest yet: its scores and its reference are still to be made, by what will be sealed.
    classifier = Classifier(Artefact(path=building, spec=spec, digest=""), s.threads)
    reference(classifier, s, parts["calibration"]).to_parquet(building / artifact.REFERENCE, index=False)
    _write(building / artifact.SIGNATURES, signatures.measure(s, parts["calibration"]))
    typical_cells(classifier, s, p, parts["calibration"]).to_parquet(building / artifact.TYPICAL, index=False)
    _write(building / artifact.GOLDEN, golden.make(classifier, draw_each(_DRAWN)))

    parts["test"] = unseal(fit, artifact.sha256(building / artifact.NETWORK))
    observations = {part: observe(classifier, s, p, parts[part]) for part in ("validation", "test")}
    predictions = {part: table(parts[part], seen) for part, seen in observations.items()}
    answers = selective.measure(labels_of(parts["test"]["cell_type"]), observations["test"])
    scores = _measure(fit, classifier, report, answers, predictions, parts, s, p)
    _write(building / artifact.METRICS, scores)
    write_card(building, read_previous(s, fit.run_id))
    artifact.seal(building)

    _write_for_dvc(name, s, scores, predictions, synthetic=spec.synthetic)
    _replace(building, s.artefact(name))
    logger.info("%s: accuracy on the sealed part %s", name, scores.test.accuracy)
    return Artefact.open(s.artefact(name))


class Training(BaseModel):
    """``training.json`` of an artefact: what was asked for, and what came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: Fit
    kept: SeedFit
    """Of the fit: the seed whose network this is."""
    candidate: Candidate


def _choose(building: Path, fit: Fit, parts: Mapping[str, pd.DataFrame], s: Settings, p: Params) -> InferenceReport:
    typical, _ = _labelled(fit, choose_pictures(parts["train"], _TYPICAL), s, p)
    validation, calibration = (_labelled(fit, parts[part], s, p) for part in ("validation", "calibration"))
    most_differ = p.promotion.limits.export
    network = building / artifact.NETWORK
    return precision.choose(network, building, typical, validation, calibration, most_differ, s.threads)


def _fit_policy(building: Path, spec: ModelSpec, parts: Mapping[str, pd.DataFrame], s: Settings, p: Params) -> None:
    """Write what the training pictures are like and the answer policy's limits, as the graph that serves has them."""
    graph = InferenceGraph(building / spec.graph, s.threads, spec.runtime, spec.precision)
    learnt, calibration = parts["train"], parts["calibration"]
    seen = np.concatenate(
        [
            pooled(graph.infer(inputs_of(spec.input, s, p, learnt.iloc[i : i + _EMBEDDED])).features)
            for i in range(0, len(learnt), _EMBEDDED)
        ]
    )
    familiarity = fit_familiarity(seen, statistics_of(learnt))
    familiarity.write(building)
    statistics = statistics_of(calibration)
    inferred = graph.infer(inputs_of(spec.input, s, p, calibration))
    policy = fit_policy(
        labels_of(calibration["cell_type"]),
        tempered(inferred.probabilities, spec.temperature),
        familiarity.novelty(inferred.features),
        np.array([familiarity.foreignness(one) for one in statistics]),
        statistics,
        p.answers,
    )
    _write(building / POLICY, policy)


def _labelled(fit: Fit, images: pd.DataFrame, s: Settings, p: Params) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return inputs_of(fit.input, s, p, images), labels_of(images["cell_type"])


def _measure(
    fit: Fit,
    classifier: Classifier,
    report: InferenceReport,
    answers: Selective,
    predictions: Mapping[str, pd.DataFrame],
    parts: Mapping[str, pd.DataFrame],
    s: Settings,
    p: Params,
) -> Scores:
    # Before the temperature: the same graph, its answers as they are.
    draft = classifier.artefact
    plain = Classifier(replace(draft, spec=draft.spec.model_copy(update={"temperature": 1.0})), s.threads)
    before = {part: labels_and_probabilities(predict(plain, s, p, parts[part])) for part in ("calibration", "test")}
    known = frozenset(read_manifest(s.manifest)["sha256"])
    timed = choose_pictures(parts["test"], _TIMED)["path"]
    return Scores(
        validation=score_predictions(predictions["validation"]),
        test=score_predictions(predictions["test"]),
        test_digest=digest_of(parts["test"]),
        calibration=calibration(draft.spec.temperature, before["calibration"], before["test"]),
        answers=answers,
        no_cells=no_cells.measure(classifier),
        stress=stress.measure(classifier, s, p, parts["test"]),
        external=tuple(
            external.measure(classifier, name, s.root / folder, known) for name, folder in p.evaluation.external.items()
        ),
        cost=cost.measure(classifier, report, [(s.data / path).read_bytes() for path in timed]),
        seeds=seeds.measure(
            fit,
            s.fit(fit.candidate),
            {part: _labelled(fit, parts[part], s, p) for part in ("validation", "calibration", "test")},
        ),
    )


def reference(classifier: Classifier, s: Settings, images: pd.DataFrame) -> pd.DataFrame:
    """Observations of the original bytes of ``images``, walked as the service walks a request.

    Columns: ``COLUMNS``, and ``ANSWERED`` where images of the random audit are among them.

    Statistics are rounded to six decimals, as in the manifest: the last bits of a sum depend on where the picture lies
    in memory, and the same fit should give the same artefact.
    """

    def observe(path: str) -> Observation:
        return classifier.observe((s.data / path).read_bytes())

    observations = in_threads(observe, list(images["path"]), "Observing the reference")
    frame = pd.DataFrame(rows(observations), columns=list(COLUMNS)).round(dict.fromkeys(STATISTICS, 6))
    if (images["source"] == AUDITED).any():
        frame[ANSWERED] = answered_at(images, read_labels(s.data)).reset_index(drop=True)
    return frame


def answered_at(images: pd.DataFrame, said: Iterable[Statement]) -> pd.Series:
    """When images of the random audit were answered, in UTC, with the index of ``images``; null for all others."""
    times = {one.sha256: one.answered for one in said}
    audited = images["sha256"].where(images["source"] == AUDITED)
    return pd.to_datetime(audited.map(times), utc=True, format="ISO8601")


def _spec(fit: Fit, report: InferenceReport) -> ModelSpec:
    served = report.choice
    return ModelSpec(
        candidate=fit.candidate,
        network=fit.network,
        input=fit.input,
        golden=golden_hash(fit.input),
        run_id=fit.run_id,
        git_commit=fit.git_commit,
        data_version=fit.data_version,
        manifest_digest=fit.manifest_digest,
        synthetic=fit.synthetic,
        parameters=fit.parameters,
        temperature=served.temperature,
        runtime=served.runtime,
        precision=served.precision,
    )


def _write(path: Path, record: BaseModel) -> None:
    path.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _write_for_dvc(
    name: str, s: Settings, scores: Scores, predictions: Mapping[str, pd.DataFrame], *, synthetic: bool
) -> None:
    numbers = {"synthetic": synthetic, **{key: round(number, 6) for key, number in scores.flat().items()}}
    metrics_file, table = s.build / "metrics" / f"{name}.json", s.build / "predictions" / f"{name}.parquet"
    folder = s.build / "plots" / name
    plots = {
        "confusion": predictions["test"][["actual", "predicted"]],
        "calibration": _bins(scores.calibration.test_after),
        "risk_coverage": pd.DataFrame([point.model_dump() for point in scores.test.risk_coverage.points]),
        "stress": stress.table(scores.stress),
    }
    for file in (metrics_file, table, *(folder / f"{plot}.csv" for plot in plots)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # it may be a hard link into DVC's cache, which writing would change
    metrics_file.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    pd.concat(predictions.values(), ignore_index=True).to_parquet(table, index=False)
    for plot, points in plots.items():
        points.to_csv(folder / f"{plot}.csv", index=False, lineterminator="\n", float_format="%.6f")


def _bins(found: Reliability) -> pd.DataFrame:
    """The reliability diagram: mean confidence, accuracy with its interval and images of each bin."""
    bins = [(b.confidence, b.accuracy.value, b.accuracy.low, b.accuracy.high, b.images) for b in found.bins]
    return pd.DataFrame(bins, columns=["confidence", "accuracy", "low", "high", "images"])


def _replace(building: Path, place: Path) -> None:
    """Move a finished directory to its place; a reader finds the old one, none, or the new one, never a mixture."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    building.rename(place)
    shutil.rmtree(old, ignore_errors=True)
