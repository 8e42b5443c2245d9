"""The model card says what the files of its artefact say, and no number that has no place in them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from handmade import make_artefact, scores_of
from scipy.special import softmax
from sourced import faults, read

from bloodyspy.cells import CellType
from bloodyspy.errors import ArtefactInvalid
from bloodyspy.evaluation.calibration import calibration
from bloodyspy.evaluation.metrics import score
from bloodyspy.evaluation.model_card.document import Card, Fact, Paragraph, words
from bloodyspy.evaluation.model_card.facts import Facts
from bloodyspy.evaluation.model_card.markdown import markdown
from bloodyspy.evaluation.model_card.page import page
from bloodyspy.evaluation.model_card.previous import Previous, read_previous
from bloodyspy.evaluation.model_card.writing import headline, write_card
from bloodyspy.evaluation.scores import Scores, Seeds
from bloodyspy.images.corruption import STRESSES
from bloodyspy.model import artifact
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.release import Release, write_release
from bloodyspy.settings import Settings


def page_of(artefact: Artefact) -> str:
    return (artefact.path / "card.html").read_text(encoding="utf-8")


def card_of(artefact: Artefact) -> str:
    return (artefact.path / "card.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return make_artefact(tmp_path_factory.mktemp("before") / "x", "b" * 32, share_right=0.85, synthetic=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, before: Artefact) -> Artefact:
    """An artefact that has everything a card can tell."""
    previous = Previous.of(3, before, scores_of(0.85))
    scores = scores_of(0.93, external=True, seeds=True)
    place = tmp_path_factory.mktemp("whole") / "x"
    return make_artefact(place, "a" * 32, synthetic=False, scores=scores, previous=previous)


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """Of a model that is surer of one answer than of another, so that its curves have points."""
    rng = np.random.default_rng(5)
    labels = np.arange(400) % 8
    logits = rng.normal(size=(400, 8)) * 2
    logits[np.arange(400), labels] += 3
    probabilities = softmax(logits, axis=1)
    answered = {
        "test": score(labels, probabilities),
        "calibration": calibration(1.2, (labels, probabilities), (labels, probabilities)),
    }
    place = tmp_path_factory.mktemp("varied") / "x"
    return make_artefact(place, "a" * 32, synthetic=False, scores=scores_of(0.9).model_copy(update=answered))


@pytest.fixture
def copied(whole: Artefact, tmp_path: Path) -> Path:
    """The same, to be tampered with."""
    return Path(shutil.copytree(whole.path, tmp_path / "copied"))


def test_every_number_names_its_place_and_stands_there(whole: Artefact) -> None:
    html = page_of(whole)
    assert faults(whole.path, html) == []
    shown = read(html).shown
    assert len(shown) > 600
    for file in ("spec", "metrics", "inference", "training", "data", "previous"):
        assert any(element.source.startswith(f"{file}.json#/") for element in shown), file
    for told in scores_of(0.93, external=True, seeds=True).model_dump():
        assert any(element.source.startswith(f"metrics.json#/{told}") for element in shown), told


@pytest.mark.parametrize("made", [{"share_right": 1.0}, {"share_right": 0.5}, {"git_commit": "unknown"}])
def test_a_card_of_little_is_complete_too(tmp_path: Path, made: dict[str, float | str]) -> None:
    artefact = make_artefact(tmp_path / "little", "a" * 32, **made)  # type: ignore[arg-type]
    assert faults(artefact.path, page_of(artefact)) == []


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        (r"<main>", "<main><p>97 of them</p>", "without a source"),
        (r"<main>", "<main><p>half <data value='1'>1</data></p>", "without a source"),
        (r"<td>(<data)", r"<td></td><td>\1", "nothing where something should be"),
        (r"(metrics.json#/test/accuracy/value\"[^>]*>)[^<]*", r"\g<1>99.9 %", "the page shows '99.9 %'"),
        (r'value="[^"]*" (data-source="metrics.json#/test/ece")', r'value="0.5" \1', "the page's value is 0.5"),
        (r"<main>", "<main><img src='http://elsewhere/x.png'>", "loaded from elsewhere"),
    ],
)
def test_the_reader_finds_what_is_wrong(whole: Artefact, was: str, becomes: str, said: str) -> None:
    forged = re.sub(was, becomes, page_of(whole), count=1)
    assert forged != page_of(whole)
    assert any(said in fault for fault in faults(whole.path, forged))


def test_a_number_that_changed_after_the_card_is_found(copied: Path, whole: Artefact) -> None:
    metrics = json.loads((copied / "metrics.json").read_text())
    metrics["stress"]["cells"][7]["balanced_error"]["high"] = 0.999
    (copied / "metrics.json").write_text(json.dumps(metrics))
    place = "metrics.json#/stress/cells/7/balanced_error/high"
    assert all(place in fault for fault in faults(copied, page_of(whole)))
    assert faults(copied, page_of(whole))


def test_both_forms_tell_the_same_numbers(whole: Artefact, varied: Artefact) -> None:
    for artefact in (whole, varied):
        # a plot stands in the page only
        shown = re.sub(r"<figure>.*?</figure>", "", page_of(artefact).partition("<body>")[2], flags=re.DOTALL)
        numbers = [
            re.findall(r"[+\N{MINUS SIGN}]?\d+(?:[.,]\d+)*", text)
            for text in (re.sub(r"<[^>]*>", " ", shown), card_of(artefact))
        ]
        assert len(numbers[0]) > 500
        assert numbers[0] == numbers[1]


def test_what_the_plots_draw_stands_in_tables(varied: Artefact) -> None:
    scores = Scores.model_validate_json((varied.path / "metrics.json").read_bytes())
    card = card_of(varied)
    bins = scores.calibration.test_after.bins
    assert len(bins) > 5
    for bin_ in bins:
        assert f"| {bin_.confidence:.1%} | {bin_.images:,} | {bin_.accuracy}".replace("%", " %") in card
    risks = {point.coverage: point.risk for point in scores.test.risk_coverage.points}
    assert len(set(risks.values())) > 20
    for coverage in (0.5, 0.8, 0.9, 0.95, 1.0):
        assert f"| {coverage:.1%} | {risks[coverage]:.1%} |".replace("%", " %") in card
    assert faults(varied.path, page_of(varied)) == []


def test_card_tells_purpose_limits_and_origin(whole: Artefact) -> None:
    card = card_of(whole)
    for said in (
        "not a medical device",
        "an upper bound",
        "Donors are not identified",
        "pbc: 1,851 images",
        "200 pictures of the sealed test part, at most 25 of each type",
        "1 files that cannot be read, 4 pictures that the data set holds too, and 7 copies",
        "of a process that holds the graph alone",
        "14 epochs in 1.5 minutes",
        "weights of epoch 11",
        f"git checkout {'c' * 40}",
        "dvc repro evaluate@small_cnn",
        "| augmentation: blur | 0.5 |",
        *(f"`{digest}`" for digest in ("a" * 32, "b" * 32, "d" * 32, "e" * 64, "f" * 64)),
        *(f"| {kind.replace('_', ' ')} |" for kind in STRESSES),
    ):
        assert said in card, said
    assert "drawn cells" not in card
    for subtype in ("metamyelocyte", "promyelocyte", "band neutrophil", "segmented neutrophil"):
        assert f"| {subtype} (" in card


def test_tables_have_as_many_cells_as_headings(whole: Artefact) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", card_of(whole), flags=re.MULTILINE)
    assert len(blocks) > 15
    for block in blocks:
        assert len({line.count("|") for line in block.strip().splitlines()}) == 1, block


def test_drawn_cells_are_said_loudly_and_first(tmp_path: Path) -> None:
    artefact = make_artefact(tmp_path / "drawn", "a" * 32)
    for text in (card_of(artefact), page_of(artefact).partition("<body>")[2], headline(artefact.spec, scores_of(0.9))):
        assert "drawn cells" in text[:350]


def test_a_type_without_a_test_image_is_told(tmp_path: Path) -> None:
    scores = scores_of(0.9)
    kept = {cell: estimate for cell, estimate in scores.test.sensitivity.items() if cell is not CellType.IG}
    test = scores.test.model_copy(update={"sensitivity": kept, "support": {**scores.test.support, CellType.IG: 0}})
    artefact = make_artefact(tmp_path / "x", "a" * 32, scores=scores.model_copy(update={"test": test}))
    assert faults(artefact.path, page_of(artefact)) == []
    assert "| ig | 0 | no image |" in card_of(artefact)
    assert "no image of ig:" in card_of(artefact)
    assert "The fewest test images are of ig" not in card_of(artefact)
    assert "no image of" not in card_of(make_artefact(tmp_path / "y", "a" * 32))


def test_seeds_without_a_sensitivity_for_ig_leave_it_out(tmp_path: Path, whole: Artefact) -> None:
    scores = scores_of(0.9, seeds=True)
    assert scores.seeds is not None
    seeds = Seeds.of([run.model_copy(update={"test_ig_sensitivity": None}) for run in scores.seeds.runs])
    artefact = make_artefact(tmp_path / "x", "a" * 32, scores=scores.model_copy(update={"seeds": seeds}))
    assert faults(artefact.path, page_of(artefact)) == []
    assert "| sensitivity for ig, sealed test part |" not in card_of(artefact)
    assert "| sensitivity for ig, sealed test part |" in card_of(whole)


def test_the_kept_seed_is_named(whole: Artefact) -> None:
    assert "scored in Keras, float32, whatever serves; the kept one is seed 2, of the lowest loss" in card_of(whole)
    assert 'data-source="training.json#/fit/seed"' in page_of(whole)


@pytest.mark.parametrize(
    ("commit", "said", "unsaid"),
    [
        ("c" * 40 + "-dirty", "Files differed from that commit", "-dirty"),
        ("unknown", "no git checkout", "git checkout u"),
    ],
)
def test_code_that_cannot_be_had_again_is_told(tmp_path: Path, commit: str, said: str, unsaid: str) -> None:
    artefact = make_artefact(tmp_path / "x", "a" * 32, git_commit=commit)
    assert said in card_of(artefact)
    assert unsaid not in card_of(artefact)
    assert faults(artefact.path, page_of(artefact)) == []


def test_scores_on_other_images_are_not_subtracted(tmp_path: Path, before: Artefact) -> None:
    other = Previous.of(3, before, scores_of(0.85).model_copy(update={"test_digest": "0" * 64}))
    same = Previous.of(3, before, scores_of(0.85))
    cards = [
        card_of(make_artefact(tmp_path / name, "a" * 32, synthetic=False, previous=previous))
        for name, previous in (("other", other), ("same", same), ("none", None))
    ]
    assert ["scored on different images" in card for card in cards] == [True, False, False]
    assert [len(re.findall(r"[+\N{MINUS SIGN}]\d+\.\d+ points", card)) > 10 for card in cards] == [False, True, False]
    assert "No other version" in cards[2]


def test_errors_under_stress_are_subtracted_where_the_pictures_were_the_same(tmp_path: Path, before: Artefact) -> None:
    same = Previous.of(3, before, scores_of(0.85))
    rows = []
    for name, update in (("same", {}), ("other", {"stress_digest": "0" * 64}), ("data", {"test_digest": "0" * 64})):
        artefact = make_artefact(tmp_path / name, "a" * 32, previous=same.model_copy(update=update))
        card = card_of(artefact)
        rows.append({line.split(" | ")[0]: line.split(" | ")[-1] for line in card.splitlines()})
        assert faults(artefact.path, page_of(artefact)) == []
    shown = [(found["| mean balanced error under stress"], found["| accuracy"]) for found in rows]
    assert [[cell != "- |" for cell in cells] for cells in shown] == [[True, True], [False, True], [True, False]]


def test_names_of_other_people_become_no_markup(tmp_path: Path) -> None:
    scores = scores_of(0.9, external=True)
    (other,) = scores.external
    named = other.model_copy(update={"name": "a|b <script>alert(1)</script> **bold** `code` [x](y) \\*"})
    artefact = make_artefact(tmp_path / "x", "a" * 32, scores=scores.model_copy(update={"external": (named,)}))
    assert "<script" not in page_of(artefact)
    assert "<script" not in card_of(artefact)
    assert "a\\|b" in card_of(artefact)
    assert r"\*\*bold\*\* \`code\` \[x](y) \\\*" in card_of(artefact)
    assert "**bold** `code` [x](y) \\*</data>" in page_of(artefact)
    assert f"Digest `{'a' * 64}`." in card_of(artefact)
    assert f">{'a' * 64}</data></code>." in page_of(artefact)
    assert faults(artefact.path, page_of(artefact)) == []


def test_a_card_with_a_gap_is_not_written(copied: Path) -> None:
    (copied / "training.json").write_text('{"fit": {"seed": 1}, "candidate": {}}')
    with pytest.raises(ArtefactInvalid, match=r"needs training\.json#/kept/epochs"):
        write_card(copied)


@pytest.mark.parametrize("value", [None, "", "three", float("nan"), True])
def test_what_is_no_number_is_not_shown_as_one(tmp_path: Path, value: object) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"n": value}))
    with pytest.raises(ArtefactInvalid, match=r"needs a number at metrics\.json#/n"):
        Facts(tmp_path).count("metrics.json#/n")


@pytest.mark.parametrize("template", ["only 3 of them", "{x}", ""])
def test_words_hold_no_number_and_no_gap(template: str) -> None:
    if template:
        with pytest.raises(ValueError, match=r"names no source|is empty"):
            words(template, x=" ")
    else:
        assert words(template) == ()


def test_the_released_version_is_the_one_before(settings: Settings, before: Artefact) -> None:
    assert read_previous(settings, "a" * 32) is None
    release = Release(version=4, model="bloodyspy:4", path=str(before.path), run_id="b" * 32, digest=before.digest)
    write_release(settings.release, release)
    found = read_previous(settings, "a" * 32)
    assert found is not None
    assert (found.version, found.digest) == (4, before.digest)
    assert found.accuracy == Scores.model_validate_json((before.path / "metrics.json").read_bytes()).test.accuracy
    assert read_previous(settings, "b" * 32) is None, "the same run evaluated once more is not its own past"
    write_release(settings.release, release.model_copy(update={"digest": "0" * 64}))
    assert read_previous(settings, "a" * 32) is None
    write_release(settings.release, release.model_copy(update={"path": "gone"}))
    assert read_previous(settings, "a" * 32) is None
    earlier = Path(shutil.copytree(before.path, settings.root / "earlier"))
    metrics = json.loads((earlier / "metrics.json").read_text())
    del metrics["stress"]["digest"]
    (earlier / "metrics.json").write_text(json.dumps(metrics))
    found_earlier = {"path": str(earlier), "digest": artifact.seal(earlier).digest}
    write_release(settings.release, release.model_copy(update=found_earlier))
    assert read_previous(settings, "a" * 32) is None


def test_the_headline_shows_both_parts(before: Artefact) -> None:
    scores = scores_of(0.85)
    text = headline(before.spec, scores)
    for part in (scores.test, scores.validation):
        for estimate in (part.accuracy, part.balanced_accuracy, part.macro_f1):
            assert str(estimate) in text
    assert str(scores.stress.mean_balanced_error) in text


def test_words_are_marked_up_around_facts_and_facts_never() -> None:
    name = Fact("a*b* `c` <i>", "a*b* `c` <i>", ("spec.json#/candidate",), words=True)
    run = Fact("x*y*[z]", "x*y*[z]", ("spec.json#/run_id",), words=True)
    card = Card((name,), (Paragraph(words("**{name}** is `{run}`, **not `code`**", name=name, run=run)),), ())
    assert markdown(card) == "# a\\*b\\* \\`c\\` &lt;i>\n\n**a\\*b\\* \\`c\\` &lt;i>** is `x*y*[z]`, **not `code`**\n"
    shown = re.sub(r"</?data[^>]*>", "", page(card))
    assert (
        "<strong>a*b* `c` &lt;i&gt;</strong> is <code>x*y*[z]</code>, <strong>not <code>code</code></strong>" in shown
    )
    assert [(fact.value, fact.text) for fact in read(page(card)).shown][1:] == [(name.value,) * 2, (run.value,) * 2]
