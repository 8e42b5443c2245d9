"""The ``evaluate`` stage: from a fit to an artefact."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from bloodyspy.dataset.manifest import digest as manifest_digest
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.dataset.version import read_dataset
from bloodyspy.errors import ArtefactInvalid
from bloodyspy.evaluation.card import Facts, render, sizes_of
from bloodyspy.evaluation.scores import Scores
from bloodyspy.evaluation.scoring import digest_of, inputs_of, part_of, predict, score_predictions
from bloodyspy.images.preprocess import InputSpec, golden_hash
from bloodyspy.images.statistics import STATISTICS
from bloodyspy.model import artifact
from bloodyspy.model.artifact import Artefact, ModelSpec
from bloodyspy.model.calibration import ECE_BINS
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.export import export, verify
from bloodyspy.model.training import Fit, read_fit
from bloodyspy.observation import COLUMNS, Observation, rows
from bloodyspy.params import Params
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)


def assemble(name: str, s: Settings, p: Params) -> Artefact:
    """Turn ``build/fits/<name>/`` into the artefact ``build/models/<name>/``.

    Exports the network and verifies the graph on the validation part, scores the *exported* graph on the validation
    and on the sealed test part, observes the calibration part as the reference of the drift check, writes the card and
    seals all. The directory appears whole or not at all. Beside it: ``build/metrics/<name>.json`` (flat numbers),
    ``build/predictions/<name>.parquet`` (every answer on both parts) and ``build/plots/<name>/*.csv``.

    Raises:
        DataMissing: no fit, manifest or prepared array.
        ArtefactInvalid: the fit is of another manifest.
        ExportMismatch: the graph disagrees with the network.
    """
    fit = read_fit(s.fit(name))
    if fit.manifest_digest != manifest_digest(s.manifest):
        raise ArtefactInvalid(s.fit(name), "it was fitted on another manifest than the present one")
    building = s.artefact(name).with_name(f".{name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    spec = _spec(fit)
    (building / artifact.SPEC).write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(s.fit(name) / artifact.NETWORK, building / artifact.NETWORK)

    parts = {part: part_of(s, part) for part in ("validation", "calibration", "test")}
    export(building / artifact.NETWORK, building / artifact.GRAPH)
    # The draft has no digest yet: its scores and its reference are still to be made, by the graph that will be sealed.
    classifier = Classifier(Artefact(path=building, spec=spec, digest=""), s.threads)
    held_out = inputs_of(classifier, s, p, parts["validation"])
    difference = verify(building / artifact.NETWORK, building / artifact.GRAPH, held_out)
    logger.info("%s: graph and network agree within %.1g on %d pictures", name, difference, len(held_out))

    predictions = {part: predict(classifier, s, p, parts[part]) for part in ("validation", "test")}
    scores = Scores(
        validation=score_predictions(predictions["validation"]),
        test=score_predictions(predictions["test"]),
        test_digest=digest_of(parts["test"]),
    )
    (building / artifact.METRICS).write_text(scores.model_dump_json(indent=2) + "\n", encoding="utf-8")
    reference(classifier, s, parts["calibration"]).to_parquet(building / artifact.REFERENCE, index=False)
    (building / artifact.CARD).write_text(render(_facts(spec, scores, fit, building, s)), encoding="utf-8")
    artifact.seal(building)

    _write_for_dvc(name, s, scores, predictions, synthetic=spec.synthetic)
    _replace(building, s.artefact(name))
    logger.info("%s: accuracy on the sealed part %s", name, scores.test.accuracy)
    return Artefact.open(s.artefact(name))


def reference(classifier: Classifier, s: Settings, images: pd.DataFrame) -> pd.DataFrame:
    """Observations of the original bytes of ``images``, walked as the service walks a request; columns ``COLUMNS``.

    Statistics are rounded to six decimals, as in the manifest: the last bits of a sum depend on where the picture lies
    in memory, and the same fit should give the same artefact.
    """

    def observe(path: str) -> Observation:
        return classifier.observe((s.data / path).read_bytes())

    observations = in_threads(observe, list(images["path"]), "Observing the reference")
    return pd.DataFrame(rows(observations), columns=list(COLUMNS)).round(dict.fromkeys(STATISTICS, 6))


def _spec(fit: Fit) -> ModelSpec:
    spec = InputSpec(size=fit.input_size)
    return ModelSpec(
        candidate=fit.candidate,
        network=fit.network,
        input=spec,
        golden=golden_hash(spec),
        run_id=fit.run_id,
        git_commit=fit.git_commit,
        data_version=fit.data_version,
        manifest_digest=fit.manifest_digest,
        synthetic=fit.synthetic,
        parameters=fit.parameters,
    )


def _facts(spec: ModelSpec, scores: Scores, fit: Fit, building: Path, s: Settings) -> Facts:
    return Facts(
        spec=spec,
        scores=scores,
        sizes=sizes_of(read_manifest(s.manifest)),
        sources=tuple((source.name, source.taken) for source in read_dataset(s.data).sources),
        epochs=fit.epochs,
        best_epoch=fit.best_epoch,
        seconds=fit.seconds,
        graph_megabytes=(building / artifact.GRAPH).stat().st_size / 1e6,
    )


def _write_for_dvc(
    name: str, s: Settings, scores: Scores, predictions: dict[str, pd.DataFrame], *, synthetic: bool
) -> None:
    numbers = {"synthetic": synthetic, **{key: round(number, 6) for key, number in scores.flat().items()}}
    metrics_file, table = s.build / "metrics" / f"{name}.json", s.build / "predictions" / f"{name}.parquet"
    plots = s.build / "plots" / name
    for folder in (metrics_file.parent, table.parent, plots):
        folder.mkdir(parents=True, exist_ok=True)
    for file in (metrics_file, table, plots / "confusion.csv", plots / "calibration.csv"):
        file.unlink(missing_ok=True)  # it may be a hard link into DVC's cache, which writing would change
    metrics_file.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    pd.concat(predictions.values(), ignore_index=True).to_parquet(table, index=False)
    test = predictions["test"]
    test[["actual", "predicted"]].to_csv(plots / "confusion.csv", index=False, lineterminator="\n")
    reliability(test).to_csv(plots / "calibration.csv", index=False, lineterminator="\n", float_format="%.6f")


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Mean confidence, accuracy and images of each bin of the calibration error; empty bins are left out."""
    bins = np.clip(np.ceil(predictions["confidence"].to_numpy(dtype=float) * ECE_BINS).astype(int), 1, ECE_BINS)
    frame = pd.DataFrame(
        {
            "bin": bins,
            "confidence": predictions["confidence"].to_numpy(dtype=float),
            "correct": (predictions["predicted"] == predictions["actual"]).to_numpy(dtype=float),
        }
    )
    grouped = frame.groupby("bin")
    table = grouped.agg(confidence=("confidence", "mean"), accuracy=("correct", "mean"), images=("correct", "size"))
    return table.reset_index(drop=True)


def _replace(building: Path, place: Path) -> None:
    """Move a finished directory to its place; a reader finds the old one, none, or the new one, never a mixture."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    building.rename(place)
    shutil.rmtree(old, ignore_errors=True)
