"""The model card says what its facts say, and nothing that has no source."""

import re

import pandas as pd
import pytest
from handmade import metrics_of

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.evaluation.card import Facts, headline, render, sizes_of
from bloodyspy.evaluation.metrics import Scores
from bloodyspy.images.preprocess import InputSpec
from bloodyspy.model.artifact import ModelSpec


def facts(synthetic: bool = False) -> Facts:
    manifest = pd.DataFrame(
        [
            {"cell_type": str(cell), "part": part}
            for cell in CELL_TYPES
            for part, n in (("train", 30), ("validation", 4), ("calibration", 3), ("test", 6))
            for _ in range(n + cell.position)
        ]
    )
    spec = ModelSpec(
        candidate="small_cnn",
        network="small_cnn",
        input=InputSpec(size=64),
        golden="a" * 64,
        run_id="b" * 32,
        git_commit="c" * 40,
        data_version="d" * 32,
        manifest_digest="e" * 64,
        synthetic=synthetic,
        parameters=98_765,
    )
    return Facts(
        spec=spec,
        scores=Scores(validation=metrics_of(0.93), test=metrics_of(0.91, seed=5), test_digest="f" * 64),
        sizes=sizes_of(manifest),
        sources=(("pbc", 1234),),
        epochs=14,
        best_epoch=11,
        seconds=90,
        graph_megabytes=0.4,
    )


def test_card_tells_purpose_limits_and_origin() -> None:
    card = render(facts())
    for said in (
        "not a medical device",
        "upper bound",
        "Donors are not identified",
        "98,765 weights",
        "pbc (1,234 images)",
        "14 epochs in 1.5 minutes",
        "weights of epoch 11",
        f"git checkout {'c' * 40}",
        "dvc repro evaluate@small_cnn",
        *(f"`{digest}`" for digest in ("b" * 32, "d" * 32, "e" * 64, "f" * 64)),
    ):
        assert said in card
    assert "drawn cells" not in card
    assert not re.search(r"\{|\}|nan|None", card), "a field was left empty"


def test_card_shows_every_type_with_its_interval() -> None:
    about = facts()
    card = render(about)
    for cell in CELL_TYPES:
        assert f"| {cell} | {about.scores.test.support[cell]} | {about.scores.test.sensitivity[cell]} |" in card
    for part in (about.scores.validation, about.scores.test):
        for estimate in (part.accuracy, part.balanced_accuracy, part.macro_f1):
            assert str(estimate) in card


def test_tables_have_as_many_cells_as_headings() -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", render(facts()), flags=re.MULTILINE)
    assert len(blocks) == 5
    for block in blocks:
        assert len({line.count("|") for line in block.strip().splitlines()}) == 1, block


@pytest.mark.parametrize("text", [render(facts(synthetic=True)), headline(facts(True).spec, facts().scores)])
def test_drawn_cells_are_said_loudly_and_first(text: str) -> None:
    assert "drawn cells" in text[:250]


def test_a_type_without_a_test_image_is_told() -> None:
    whole = facts()
    test = whole.scores.test
    kept = {cell: estimate for cell, estimate in test.sensitivity.items() if cell is not CellType.IG}
    without = test.model_copy(update={"sensitivity": kept, "support": {**test.support, CellType.IG: 0}})
    scores = whole.scores.model_copy(update={"test": without})
    card = render(Facts(whole.spec, scores, whole.sizes, whole.sources, 14, 11, 90, 0.4))
    assert "| ig | 0 | no image |" in card
    assert "fewest test images are of ig (0)" in card


def test_sizes_name_every_part_and_type_even_when_empty() -> None:
    sizes = sizes_of(pd.DataFrame({"cell_type": ["ig"], "part": ["train"]}))
    assert sizes.shape == (8, 5)
    assert sizes.loc["ig", "train"] == 1
    assert sizes.to_numpy().sum() == 1


@pytest.mark.parametrize(
    ("commit", "said", "unsaid"),
    [
        ("c" * 40 + "-dirty", "Files differed from that commit", "-dirty"),
        ("unknown", "no git checkout", "git checkout u"),
    ],
)
def test_code_that_cannot_be_had_again_is_told(commit: str, said: str, unsaid: str) -> None:
    whole = facts()
    spec = whole.spec.model_copy(update={"git_commit": commit})
    card = render(Facts(spec, whole.scores, whole.sizes, whole.sources, 14, 11, 90, 0.4))
    assert said in card
    assert unsaid not in card
