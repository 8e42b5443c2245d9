"""The model card, written from facts and never typed."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.intervals import RESAMPLES
from bloodyspy.evaluation.metrics import Metrics
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import ModelSpec
from bloodyspy.model.calibration import ECE_BINS
from bloodyspy.model.provenance import DIRTY, UNKNOWN

PARTS: tuple[str, ...] = ("train", "validation", "calibration", "test", "withheld")

_PURPOSE = {
    "train": "the network's weights",
    "validation": "early stopping, choice between candidates",
    "calibration": "reference of the drift check",
    "test": "sealed: scores only",
    "withheld": "near-duplicates of an image in another part: used for nothing",
}

_SYNTHETIC = (
    "> **Trained and measured on drawn cells.** Every number here comes from synthetic pictures and says nothing about "
    "real blood. Use it to try the platform, for nothing else."
)

_USE = """\
## What it is for

Naming the type of the one cell in the middle of a picture, cut from a peripheral blood smear with May-Grünwald-Giemsa
stain, as one of eight: {types}. For research, and for building and testing laboratory software.

## What it is not for

It is **not a medical device** and no diagnosis may rest on it. It always answers with one of the eight types: blasts,
atypical lymphocytes, smudge cells, artefacts and anything else in a picture get one of these names too. It was not made
for other stains, whole fields of view or bone marrow."""

_DATA = """\
## Data

Kind: {kind}. Sources: {sources}. Data version `{version}`, manifest `{manifest}`, sealed test part `{test}`.

The parts are drawn by the hash of an image's content: exact duplicates never straddle them, and an image keeps its part
when others are added.

{parts}

{classes}"""

_SCORES = """\
## Scores

{table}

In brackets the 95 % interval: Wilson for proportions, percentile bootstrap over images ({resamples:,} resamples) for
balanced accuracy and macro F1. The calibration error is the expected one over {bins} bins; no probability was adjusted
after training.

On the sealed test part, by type:

{classes}"""

_LIMITS = """\
## Limits

- **Donors are not identified in the data**, so pictures of one donor can stand on both sides of the split: every score
  here is an upper bound of what to expect on new donors.
- It was not measured on another laboratory's slides, stain, microscope or camera; expect less there, and watch the
  drift check.
- It is weakest on {lowest}: {sensitivity}. The fewest test images are of {fewest} ({images:,}), so the number of that
  type is the least certain.
- The intervals cover the choice of test images, not the chance of training: another seed gives another network."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a card says."""

    spec: ModelSpec
    scores: Scores
    sizes: pd.DataFrame
    """Images: index the cell types, columns :data:`PARTS`."""
    sources: tuple[tuple[str, int], ...]
    """Name and number of images taken, of each import source."""
    epochs: int
    best_epoch: int
    seconds: float
    """Wall time of the fit."""
    graph_megabytes: float


def sizes_of(manifest: pd.DataFrame) -> pd.DataFrame:
    """Images of each cell type in each part; columns of ``manifest``: ``cell_type``, ``part``."""
    counted = pd.crosstab(manifest["cell_type"], manifest["part"])
    return counted.reindex(index=[str(cell) for cell in CELL_TYPES], columns=list(PARTS), fill_value=0).astype(int)


def render(facts: Facts) -> str:
    """The card as Markdown."""
    spec = facts.spec
    blocks = [
        f"# Model card: {spec.candidate}",
        *([_SYNTHETIC] if spec.synthetic else []),
        _summary(facts),
        _USE.format(types=", ".join(cell.spelled_out for cell in CELL_TYPES)),
        _data(facts),
        _scores(facts),
        _limits(facts),
        _origin(facts),
    ]
    return "\n\n".join(blocks) + "\n"


def headline(facts: ModelSpec, scores: Scores) -> str:
    """Two lines and a small table: what is shown on the MLflow run and version."""
    warning = "**Synthetic: drawn cells, no real blood.**\n\n" if facts.synthetic else ""
    return (
        f"{warning}`{facts.candidate}` ({facts.network}), data `{facts.data_version[:12]}`, "
        f"commit `{facts.git_commit[:12]}`\n\n{_score_table(scores)}\n\n"
        "95 % intervals. Donors are not identified: an upper bound. The whole card: artifact `card.md`."
    )


def _summary(facts: Facts) -> str:
    spec, test = facts.spec, facts.scores.test
    return _table(
        ("", ""),
        [
            ("network", f"{spec.network}, {spec.parameters:,} weights, graph of {facts.graph_megabytes:.1f} MB"),
            ("input", f"centred square, {spec.input.size} x {spec.input.size} pixels, RGB"),
            ("accuracy on the sealed test part", f"{test.accuracy}, {test.n:,} images"),
            ("MLflow run", f"`{spec.run_id}`"),
        ],
    )


def _data(facts: Facts) -> str:
    sizes = facts.sizes
    kind = "synthetic (drawn, not photographed)" if facts.spec.synthetic else "photographs"
    named = "; ".join(f"{name} ({taken:,} images)" for name, taken in facts.sources)
    parts = _table(("part", "images", "used for"), [(part, f"{sizes[part].sum():,}", _PURPOSE[part]) for part in PARTS])
    classes = _table(
        ("cell type", *PARTS), [(str(cell), *(f"{n:,}" for n in sizes.loc[str(cell)])) for cell in CELL_TYPES]
    )
    return _DATA.format(
        kind=kind,
        sources=named,
        version=facts.spec.data_version,
        manifest=facts.spec.manifest_digest,
        test=facts.scores.test_digest,
        parts=parts,
        classes=classes,
    )


def _scores(facts: Facts) -> str:
    metrics = facts.scores.test
    rows = []
    for cell in CELL_TYPES:
        estimate = metrics.sensitivity.get(cell)
        rows.append(
            (
                str(cell),
                f"{metrics.support[cell]:,}",
                str(estimate) if estimate else "no image",
                _confused(metrics, cell.position),
            )
        )
    classes = _table(("cell type", "images", "sensitivity", "most often taken for"), rows)
    return _SCORES.format(table=_score_table(facts.scores), resamples=RESAMPLES, bins=ECE_BINS, classes=classes)


def _limits(facts: Facts) -> str:
    metrics = facts.scores.test
    lowest = min(metrics.sensitivity, key=lambda cell: metrics.sensitivity[cell].value)
    fewest = min(metrics.support, key=lambda cell: metrics.support[cell])
    return _LIMITS.format(
        lowest=lowest, sensitivity=metrics.sensitivity[lowest], fewest=fewest, images=metrics.support[fewest]
    )


def _origin(facts: Facts) -> str:
    spec = facts.spec
    commit = spec.git_commit.removesuffix(DIRTY)
    code = [f"git checkout {commit}"] if commit != UNKNOWN else []
    missing = "The code's commit is unknown: it was no git checkout.\n\n" if commit == UNKNOWN else ""
    if commit != spec.git_commit:
        missing = "**Files differed from that commit**, so these commands may give another model.\n\n"
    commands = "\n".join([*code, "dvc pull data.dvc", f"dvc repro evaluate@{spec.candidate}"])
    return (
        f"## How it was made\n\n{facts.epochs} epochs in {facts.seconds / 60:.1f} minutes; the weights of epoch "
        f"{facts.best_epoch} were kept, the best on the validation part.\n\n{missing}```\n{commands}\n```"
    )


def _score_table(scores: Scores) -> str:
    parts = (scores.validation, scores.test)
    names = (("accuracy", "accuracy"), ("balanced accuracy", "balanced_accuracy"), ("macro F1", "macro_f1"))
    rows = [(name, *(str(part.estimates()[key]) for part in parts)) for name, key in names]
    rows.append(("calibration error", *(f"{part.ece:.1%}" for part in parts)))
    rows.append(("log loss", *(f"{part.log_loss:.3f}" for part in parts)))
    validation, test = (f"{part.n:,} images" for part in parts)
    return _table(("", f"validation part ({validation})", f"sealed test part ({test})"), rows)


def _confused(metrics: Metrics, actual: int) -> str:
    wrong = {
        cell: count
        for cell, count in zip(CELL_TYPES, metrics.confusion[actual], strict=True)
        if cell.position != actual
    }
    cell = max(wrong, key=lambda name: wrong[name])
    return f"{cell} ({wrong[cell]:,})" if wrong[cell] else "-"


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
