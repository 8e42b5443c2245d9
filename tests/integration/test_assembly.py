"""From a fit to an artefact, with a real network trained on drawn cells."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import write
from sourced import faults

from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.importing import import_images
from bloodyspy.dataset.manifest import build_manifest, digest, write_manifest
from bloodyspy.dataset.preparation import load_prepared, prepare
from bloodyspy.errors import ArtefactInvalid, DataMissing
from bloodyspy.evaluation import stress
from bloodyspy.evaluation.assembly import assemble
from bloodyspy.evaluation.comparison import read_scores
from bloodyspy.evaluation.origin import Data
from bloodyspy.evaluation.scoring import labels_and_probabilities, part_of, predict, score_predictions, sealed_part
from bloodyspy.images.decode import decode
from bloodyspy.images.small import small
from bloodyspy.images.synthetic import draw_each, draw_picture
from bloodyspy.model import golden, precision
from bloodyspy.model.artifact import DATA, GOLDEN, INFERENCE, TRAINING, TYPICAL, Artefact, read_digests
from bloodyspy.model.calibration import fit_temperature
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.fits import Fit, fit
from bloodyspy.model.inference import Precision
from bloodyspy.model.inference_report import InferenceReport
from bloodyspy.observation import COLUMNS, PROBABILITIES
from bloodyspy.params import Params, load_params
from bloodyspy.promotion import ledger
from bloodyspy.settings import Settings

# Keras hands its tensors to NumPy 2 without the `copy` keyword.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

ROOT = Path(__file__).parents[2]
NAME = "small_cnn"
RUN = "5" * 32


class Notebook:
    """A recorder that keeps nothing."""

    run_id = RUN

    def begin(self, identity: str) -> int:
        return 0

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        return None

    def numbers(self, metrics: Mapping[str, float]) -> None:
        return None

    @contextmanager
    def child(self, name: str, facts: Mapping[str, str]) -> Iterator["Notebook"]:
        yield self


@pytest.fixture(scope="module")
def p() -> Params:
    params = load_params(ROOT / "params.yaml")
    candidate = params.candidates[NAME].model_copy(update={"epochs": 2, "patience": 2, "seeds": 2})
    drawn = params.synthetic.model_copy(update={"per_class": 12})
    measured = params.evaluation.model_copy(update={"stress_per_class": 1, "external": {"elsewhere": "elsewhere"}})
    return params.model_copy(
        update={"candidates": {NAME: candidate}, "synthetic": drawn, "evaluation": measured, "tuning": {}}
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, p: Params) -> Settings:
    """A project in which `train` has run."""
    s = Settings(root=tmp_path_factory.mktemp("project"))
    import_images("synthetic", s, p)
    (s.root / "data.dvc").write_text(f"outs:\n- md5: {'d' * 32}.dir\n  path: data\n")
    s.build.mkdir()
    write_manifest(build_manifest(s.data, p.split), s.manifest)
    prepare(s, p, p.candidates[NAME].input)
    fit(NAME, s, p, Notebook())
    foreign = {
        f"{cell}s/{i}.jpg": draw_picture(cell, index=900 + i, seed=1)[1] for cell in CELL_TYPES[:2] for i in (0, 1)
    }
    write(s.root / "elsewhere", foreign)
    return s


@pytest.fixture(scope="module")
def assembled(trained: Settings, p: Params) -> Artefact:
    return assemble(NAME, trained, p, partial(ledger.for_fit, trained))


@pytest.fixture(scope="module")
def classifier(assembled: Artefact) -> Classifier:
    return Classifier.load(assembled.path)


def test_the_artefact_says_what_it_is(assembled: Artefact, trained: Settings) -> None:
    spec = assembled.spec
    assert assembled.path == trained.artefact(NAME)
    assert (spec.run_id, spec.data_version, spec.candidate, spec.synthetic) == (RUN, "d" * 32, NAME, True)
    assert spec.manifest_digest == digest(trained.manifest)
    training = json.loads((assembled.path / TRAINING).read_text())
    assert Fit.model_validate(training["fit"]).run_id == RUN
    assert training["candidate"]["epochs"] == 2
    seeds = read_scores(assembled).seeds
    assert seeds is not None
    assert [run.seed for run in seeds.runs] == [1, 2]
    if spec.precision is Precision.FLOAT32:  # the seeds are scored in Keras, the model by the graph that serves
        kept = seeds.runs[training["fit"]["seed"] - 1]
        assert kept.test_accuracy == pytest.approx(read_scores(assembled).test.accuracy.value)
    data = Data.model_validate_json((assembled.path / DATA).read_bytes())
    manifest = pd.read_parquet(trained.manifest)
    assert (data.images, data.synthetic, data.manifest_digest) == (len(manifest), True, spec.manifest_digest)
    for part, sizes in data.sizes.items():
        assert sum(sizes.values()) == (manifest["part"] == part).sum()
    assert sum(source.taken for source in data.sources) == len(manifest)
    card = (assembled.path / "card.md").read_text()
    assert "drawn cells" in card
    assert f"the kept one is seed {training['fit']['seed']}" in card
    assert f"{read_scores(assembled).test.n:,} images" in card
    assert faults(assembled.path, (assembled.path / "card.html").read_text()) == []


def test_scores_are_those_of_the_sealed_graph_on_the_original_bytes(
    classifier: Classifier, assembled: Artefact, trained: Settings
) -> None:
    kept = pd.read_parquet(trained.build / "predictions" / f"{NAME}.parquet")
    for part in ("validation", "test"):
        rows, answers = sealed_part(trained) if part == "test" else part_of(trained, part), kept[kept["part"] == part]
        assert list(answers["path"]) == list(rows["path"])
        assert list(answers["actual"]) == list(rows["cell_type"])
        walked = [classifier.observe((trained.data / path).read_bytes()).probabilities for path in rows["path"]]
        np.testing.assert_allclose(answers[list(PROBABILITIES)], walked, atol=1e-6)
        assert getattr(read_scores(assembled), part) == score_predictions(answers)


def test_the_temperature_is_fitted_on_the_calibration_part_alone(
    classifier: Classifier, assembled: Artefact, trained: Settings, p: Params
) -> None:
    found = read_scores(assembled).calibration
    untempered = replace(assembled, spec=assembled.spec.model_copy(update={"temperature": 1.0}))
    raw = predict(Classifier(untempered), trained, p, part_of(trained, "calibration"))
    labels, probabilities = labels_and_probabilities(raw)
    assert found.images == len(raw)
    assert found.temperature == assembled.spec.temperature
    assert found.temperature == pytest.approx(fit_temperature(labels, probabilities), rel=1e-3)
    served = predict(classifier, trained, p, part_of(trained, "calibration"))
    assert found.calibration_after.log_loss == pytest.approx(score_predictions(served).log_loss, rel=1e-4)
    assert found.calibration_after.log_loss <= found.calibration_before.log_loss
    assert found.test_after.ece == pytest.approx(read_scores(assembled).test.ece, abs=1e-6)


def test_stress_other_laboratories_and_cost_are_measured(assembled: Artefact) -> None:
    scores = read_scores(assembled)
    assert (scores.stress.images, len(scores.stress.cells)) == (8, len(stress.CELLS))
    (elsewhere,) = scores.external
    assert (elsewhere.name, elsewhere.images, elsewhere.metrics.n) == ("elsewhere", 4, 4)
    report = InferenceReport.model_validate_json((assembled.path / INFERENCE).read_bytes())
    assert (assembled.spec.runtime, assembled.spec.precision) == (report.choice.runtime, report.choice.precision)
    assert scores.cost.memory_mb == report.memory_mb
    assert scores.cost.milliseconds_picture > scores.cost.milliseconds_1
    own = ("metrics.json", "card.md", "card.html", "digests.json")
    size = sum(file.stat().st_size for file in assembled.path.iterdir() if file.name not in own)
    assert scores.cost.megabytes_artefact == pytest.approx(size / 1e6, abs=1e-3)


def test_prepared_arrays_and_decoded_pictures_are_one_road(
    classifier: Classifier, trained: Settings, p: Params
) -> None:
    rows = sealed_part(trained)
    spec = p.inputs[p.candidates[NAME].input].model_copy(update={"size": 66})
    without = p.model_copy(update={"inputs": {p.candidates[NAME].input: spec}})
    pd.testing.assert_frame_equal(predict(classifier, trained, p, rows), predict(classifier, trained, without, rows))
    images = load_prepared(trained.prepared(p.candidates[NAME].input))
    assert len(images) == 96


def test_reference_is_what_the_service_would_log(
    classifier: Classifier, assembled: Artefact, trained: Settings
) -> None:
    reference = pd.read_parquet(assembled.path / "reference.parquet")
    rows = part_of(trained, "calibration")
    assert tuple(reference.columns) == COLUMNS
    assert len(reference) == len(rows)
    first = classifier.observe((trained.data / rows["path"].iloc[0]).read_bytes()).row()
    assert reference.iloc[0].to_dict() == pytest.approx(first, abs=1e-6)


def test_typical_cells_are_of_the_calibration_part_and_small(assembled: Artefact, trained: Settings) -> None:
    typical = pd.read_parquet(assembled.path / TYPICAL)
    rows = part_of(trained, "calibration")
    expected = rows["cell_type"].value_counts().clip(upper=4).to_dict()
    assert typical["cell_type"].value_counts().to_dict() == expected
    there = {small(decode((trained.data / path).read_bytes()).pixels) for path in rows["path"]}
    assert set(typical["jpeg"]) <= there
    assert typical["jpeg"].str.len().sum() < 200_000


def test_the_golden_answers_are_those_of_what_was_sealed(classifier: Classifier, assembled: Artefact) -> None:
    golden.check(classifier)
    kept = golden.GoldenAnswers.model_validate_json((assembled.path / GOLDEN).read_bytes())
    assert [answer.cell_type for answer in kept.answers] == list(CELL_TYPES)
    assert [answer.picture for answer in kept.answers] == list(draw_each(0).values())
    for answer in kept.answers:
        assert answer.probabilities == pytest.approx(classifier.observe(answer.picture).probabilities, abs=1e-6)


def test_what_dvc_shows_is_written(assembled: Artefact, trained: Settings) -> None:
    numbers = json.loads((trained.build / "metrics" / f"{NAME}.json").read_text())
    scores = read_scores(assembled)
    assert numbers["test_macro_f1"] == pytest.approx(scores.test.macro_f1.value, abs=1e-6)
    confusion = pd.read_csv(trained.build / "plots" / NAME / "confusion.csv")
    counted = pd.crosstab(confusion["actual"], confusion["predicted"]).reindex(index=CELL_TYPES, columns=CELL_TYPES)
    np.testing.assert_array_equal(counted.fillna(0), scores.test.confusion)
    calibration = pd.read_csv(trained.build / "plots" / NAME / "calibration.csv")
    gaps = (calibration["confidence"] - calibration["accuracy"]).abs() * calibration["images"]
    assert gaps.sum() / calibration["images"].sum() == pytest.approx(scores.test.ece, abs=1e-5)
    curve = pd.read_csv(trained.build / "plots" / NAME / "risk_coverage.csv")
    assert curve.iloc[-1].to_dict() == pytest.approx({"coverage": 1, "risk": 1 - scores.test.accuracy.value}, abs=1e-5)
    stressed = pd.read_csv(trained.build / "plots" / NAME / "stress.csv")
    assert stressed["balanced_error"].mean() == pytest.approx(scores.stress.mean_balanced_error.value, abs=1e-5)
    assert numbers["stress_mean_balanced_error"] == pytest.approx(scores.stress.mean_balanced_error.value, abs=1e-6)


def test_a_killed_assembly_leaves_what_was_there(
    assembled: Artefact, trained: Settings, p: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    before = read_digests(assembled.path)
    with monkeypatch.context() as patch:
        patch.setattr(precision, "choose", killed)
        with pytest.raises(KeyboardInterrupt):
            assemble(NAME, trained, p, partial(ledger.for_fit, trained))
    assert Artefact.open(trained.artefact(NAME)).digest == assembled.digest
    after = read_digests(assemble(NAME, trained, p, partial(ledger.for_fit, trained)).path)
    # What was timed differs, and with it the runtime and the precision may.
    for name in ("network.keras", "training.json", "data.json"):
        assert after[name] == before[name], f"{name} differs when the same fit is assembled again"
    assert [path.name for path in trained.artefact(NAME).parent.iterdir()] == [NAME]


def test_a_fit_of_other_data_is_refused(trained: Settings, p: Params, tmp_path: Path) -> None:
    other = Settings(root=tmp_path)
    with pytest.raises(DataMissing, match="train small_cnn"):
        assemble(NAME, other, p, partial(ledger.for_fit, other))
    shutil.copytree(trained.fit(NAME), other.fit(NAME))
    manifest = pd.read_parquet(trained.manifest)
    write_manifest(manifest.iloc[1:].reset_index(drop=True), other.manifest)
    with pytest.raises(ArtefactInvalid, match="another manifest"):
        assemble(NAME, other, p, partial(ledger.for_fit, other))
