"""The stress suite: the right pictures, each walked down the one road, and intervals that mean what they say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from handmade import make_artefact
from pictures import tinted, write

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import DataError
from bloodyspy.evaluation import stress
from bloodyspy.evaluation.intervals import wilson
from bloodyspy.evaluation.scoring import digest_of
from bloodyspy.evaluation.stress import CELLS, balanced_errors, choose
from bloodyspy.images.corruption import SEVERITIES, STRESSES, shift
from bloodyspy.images.decode import decode
from bloodyspy.images.preprocess import to_array
from bloodyspy.model.classifier import Classifier
from bloodyspy.params import Params
from bloodyspy.settings import Settings


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    place = tmp_path_factory.mktemp("models") / "small_cnn"
    make_artefact(place)
    return Classifier.load(place)


def manifest(data: Path, classifier: Classifier, count: int) -> pd.DataFrame:
    """Pictures in data/, each labelled with what the classifier takes it for."""
    payloads = {f"all/{i:02d}.png": tinted(i) for i in range(count)}
    write(data, payloads)
    answers = [int(classifier.probabilities(classifier.prepare(p)[None]).argmax()) for p in payloads.values()]
    return pd.DataFrame(
        {
            "path": list(payloads),
            "cell_type": [str(CELL_TYPES[answer]) for answer in answers],
            "sha256": [f"{(i * 7) % count:064x}" for i in range(count)],
        }
    )


def with_images(params: Params, per_class: int) -> Params:
    return params.model_copy(
        update={"evaluation": params.evaluation.model_copy(update={"stress_per_class": per_class})}
    )


def test_every_cell_is_the_balanced_error_of_shifted_pictures(
    classifier: Classifier, settings: Settings, params: Params
) -> None:
    rows = manifest(settings.data, classifier, 18)
    assert rows["cell_type"].nunique() > 2
    found = stress.measure(classifier, settings, with_images(params, 4), rows)

    chosen = choose(rows, 4)
    assert found.images == len(chosen) < len(rows)
    assert chosen["cell_type"].value_counts().min() < 4  # of a rare type all that there are
    assert found.per_class == chosen["cell_type"].value_counts().max() == 4
    assert found.digest == digest_of(chosen) != digest_of(rows)
    assert found.clean.value == 0  # the labels are its own answers
    assert [(cell.kind, cell.severity) for cell in found.cells] == [(k, s) for k in STRESSES for s in SEVERITIES]
    expected = []
    for kind, severity in CELLS:
        wrong = []
        for path, cell_type in zip(chosen["path"], chosen["cell_type"], strict=True):
            pixels = shift(decode((settings.data / path).read_bytes()).pixels, kind, severity)
            answer = classifier.probabilities(to_array(pixels, classifier.spec.input)[None]).argmax()
            wrong.append((cell_type, CELL_TYPES[answer] != cell_type))
        by_type = pd.DataFrame(wrong, columns=["cell_type", "wrong"]).groupby("cell_type")["wrong"].mean()
        expected.append(by_type.mean())
    assert [cell.balanced_error.value for cell in found.cells] == pytest.approx(expected)
    assert len(set(expected)) > 5  # the shifts did something, and not the same thing
    assert found.mean_balanced_error.value == pytest.approx(np.mean(expected))
    assert found == stress.measure(classifier, settings, with_images(params, 4), rows.iloc[::-1])


def test_nothing_to_stress_says_so(classifier: Classifier, settings: Settings, params: Params) -> None:
    none = pd.DataFrame({"path": [], "cell_type": [], "sha256": []})
    with pytest.raises(DataError, match="no picture to stress"):
        stress.measure(classifier, settings, params, none)


def test_pictures_are_chosen_by_content_and_few_change_when_some_are_added() -> None:
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(
        {"cell_type": ["ig", "monocyte"] * 100, "sha256": [f"{v:064x}" for v in rng.permutation(1000)[:200]]}
    )
    chosen = choose(rows, 25)
    assert chosen["cell_type"].value_counts().to_dict() == {"ig": 25, "monocyte": 25}
    for _, group in rows.groupby("cell_type"):
        taken = group["sha256"].isin(chosen["sha256"])
        assert group["sha256"][taken].max() < group["sha256"][~taken].min()
    fewer = choose(rows.iloc[:180].sample(frac=1, random_state=1), 25)
    assert len(set(fewer["sha256"]) & set(chosen["sha256"])) >= 42


def test_intervals_are_those_of_a_stratified_sample() -> None:
    # Cochran, Sampling Techniques, 3rd ed., theorem 5.3: the variance of a stratified mean is the weighted sum of the
    # strata's variances; for shares without finite population correction, sum of w^2 p (1 - p) / n
    sizes, shares = (25, 100, 60), (0.2, 0.1, 0.5)
    labels = np.repeat([1, 4, 6], sizes)
    errors = np.concatenate([np.arange(n) < p * n for n, p in zip(sizes, shares, strict=True)]).astype(float)
    (found,) = balanced_errors(errors[None], labels)
    assert found.value == pytest.approx(np.mean(shares))
    deviation = np.sqrt(sum(p * (1 - p) / n for n, p in zip(sizes, shares, strict=True))) / 3
    assert found.low == pytest.approx(found.value - 1.96 * deviation, abs=0.006)
    assert found.high == pytest.approx(found.value + 1.96 * deviation, abs=0.006)
    # not stratified, an image more or less of the hard type would widen it
    pooled = np.sqrt(found.value * (1 - found.value) / len(labels))
    assert abs(deviation - pooled) > 0.003


def test_all_conditions_see_the_same_resamples() -> None:
    labels = np.arange(80) % 8
    errors = (np.random.default_rng(1).random(80) < 0.3).astype(float)
    one, other, same, mean = balanced_errors(np.array([errors, 1 - errors, errors, np.full(80, 0.5)]), labels)
    assert one == same
    assert one.low == pytest.approx(1 - other.high)
    assert mean.low == mean.high == pytest.approx(0.5)  # what one gains the other loses, in every resample


def test_no_error_is_no_certainty() -> None:
    labels = np.arange(40) % 8
    none, every = balanced_errors(np.array([np.zeros(40), np.ones(40)]), labels)
    assert none == wilson(0, 40)
    assert every == wilson(40, 40)
    assert none.high > 0.05


def test_a_type_with_one_image_counts_as_a_type() -> None:
    errors = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
    alone, among = balanced_errors(errors, np.array([2, 5, 5, 5, 5]))
    assert alone.value == alone.low == alone.high == 0.5  # nothing varies: the single image errs, the others never
    assert (among.value, among.low) == (0.125, 0)


def test_the_table_and_the_figure_tell_every_cell(classifier: Classifier, settings: Settings, params: Params) -> None:
    found = stress.measure(classifier, settings, with_images(params, 1), manifest(settings.data, classifier, 6))
    table = stress.table(found)
    assert list(table.columns) == ["kind", "severity", "balanced_error", "low", "high"]
    assert len(table) == 55
    cell, row = found.cells[7], table.iloc[7]
    assert (row["kind"], row["severity"]) == (cell.kind.value, cell.severity)
    told = (row["balanced_error"], row["low"], row["high"])
    assert told == (cell.balanced_error.value, cell.balanced_error.low, cell.balanced_error.high)
    drawn = stress.figure(found, "small_cnn")
    titles = [axes.get_title() for axes in drawn.axes if axes.axison]
    assert [title.split(":")[0] for title in titles] == [kind.replace("_", " ") for kind in STRESSES]
    curve = drawn.axes[1].lines[1].get_ydata()
    assert list(np.asarray(curve)) == [cell.balanced_error.value for cell in found.cells[5:10]]
