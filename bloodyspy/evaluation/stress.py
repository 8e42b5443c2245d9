"""The stress suite: how a model's errors grow as pictures get worse, one fault of the laboratory at a time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from scipy.stats import bootstrap

from bloodyspy.cells import CellType
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.errors import DataError
from bloodyspy.evaluation.figures import GRID, INK, MUTED, PURPLE, TEAL
from bloodyspy.evaluation.intervals import LEVEL, RESAMPLES, Estimate, bootstrapped
from bloodyspy.evaluation.scores import Stress, StressCell
from bloodyspy.evaluation.scoring import digest_of
from bloodyspy.images.corruption import SEVERITIES, STRESSES, Shift, shift
from bloodyspy.images.decode import decode
from bloodyspy.images.preprocess import to_array
from bloodyspy.model.classifier import Classifier
from bloodyspy.params import Params
from bloodyspy.settings import Settings

CELLS: tuple[tuple[Shift, int], ...] = tuple((kind, severity) for kind in STRESSES for severity in SEVERITIES)
"""Every kind at every severity, in the order of :attr:`Stress.cells`."""


def measure(classifier: Classifier, s: Settings, p: Params, rows: pd.DataFrame) -> Stress:
    """Classify pictures as they are and under every shift at every severity.

    A picture is shifted at its full size, between decoding and resizing, and walks the rest of the road unchanged.

    Args:
        classifier: whose answers are measured.
        s: where the pictures are.
        p: how many pictures of each type are taken (``evaluation.stress_per_class``).
        rows: of the manifest, of the sealed part.

    Returns:
        Balanced errors (1 - balanced accuracy). The intervals are percentiles of a bootstrap of the images within each
        type; every cell sees the same resamples, so that the mean's interval heeds that its cells share their images.

    Raises:
        DataError: there are no rows.
    """
    chosen = choose(rows, p.evaluation.stress_per_class)
    if chosen.empty:
        raise DataError("There is no picture to stress a model with. Import more with `bloodyspy data import SOURCE`.")
    labels = np.array([CellType(name).position for name in chosen["cell_type"]])

    def wrong(picture: tuple[str, int]) -> NDArray[np.bool_]:
        path, label = picture
        answers = classifier.probabilities(_stressed(classifier, (s.data / path).read_bytes()))
        return np.asarray(answers.argmax(axis=1) != label)

    pictures = list(zip(chosen["path"], labels.tolist(), strict=True))
    errors = np.stack(in_threads(wrong, pictures, "Stressing"), axis=1)
    clean, *shifted, mean = balanced_errors(np.vstack([errors, errors[1:].mean(axis=0)]), labels)
    return Stress(
        images=len(chosen),
        per_class=p.evaluation.stress_per_class,
        digest=digest_of(chosen),
        clean=clean,
        cells=tuple(
            StressCell(kind=kind, severity=severity, balanced_error=error)
            for (kind, severity), error in zip(CELLS, shifted, strict=True)
        ),
        mean_balanced_error=mean,
    )


def choose(rows: pd.DataFrame, per_class: int) -> pd.DataFrame:
    """Rows of the manifest with the lowest content hashes, ``per_class`` of each type at most.

    The same images for every model; when images are added, few of them change.
    """
    return rows.sort_values("sha256").groupby("cell_type").head(per_class)


def balanced_errors(errors: NDArray[np.floating], labels: NDArray[np.integer], seed: int = 0) -> list[Estimate]:
    """Mean error of the types that occur, under each of several conditions.

    Args:
        errors: of each image under each condition, 0 to 1, shape (conditions, images).
        labels: type of each image, shape (images,).
        seed: of the bootstrap, whose resamples all conditions share.
    """
    strata = [errors[:, labels == label].astype(np.float64) for label in np.unique(labels)]
    # scipy wants two values of each; a single image cannot vary, whether it is there once or twice
    strata = [stratum if stratum.shape[1] > 1 else stratum.repeat(2, axis=1) for stratum in strata]
    values = _mean_of_means(*strata, axis=-1)
    found = bootstrap(
        strata,
        _mean_of_means,
        axis=-1,
        n_resamples=RESAMPLES,
        batch=100,  # bounds the memory
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return [
        bootstrapped(float(value), resampled, len(labels))
        for value, resampled in zip(values, found.bootstrap_distribution, strict=True)
    ]


def table(stress: Stress) -> pd.DataFrame:
    """One row a cell: ``kind``, ``severity``, ``balanced_error`` and its interval, ``low`` and ``high``."""
    rows = [(cell.kind.value, cell.severity, *cell.balanced_error.model_dump().values()) for cell in stress.cells]
    return pd.DataFrame(rows, columns=["kind", "severity", "balanced_error", "low", "high"])


def figure(stress: Stress, title: str) -> Figure:
    """A panel for each kind: balanced error by severity with its interval, beside the error without any shift."""
    kinds = list(dict.fromkeys(cell.kind for cell in stress.cells))
    columns = min(4, len(kinds))
    rows = -(-len(kinds) // columns)
    drawn = Figure(figsize=(2.5 * columns, 2.05 * rows + 0.5), dpi=130, layout="constrained")
    panels = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, kind in zip(panels, kinds, strict=False):
        cells = [cell for cell in stress.cells if cell.kind is kind]
        severities, errors = [cell.severity for cell in cells], [cell.balanced_error for cell in cells]
        axes.axhline(stress.clean.value, color=TEAL, linewidth=1, linestyle="--")
        axes.fill_between(severities, [e.low for e in errors], [e.high for e in errors], color="#d9cdea", linewidth=0)
        axes.plot(severities, [e.value for e in errors], color=PURPLE, marker="o", ms=3.5, linewidth=1.6)
        axes.set_title(f"{kind.replace('_', ' ')}: {_mean(errors):.1%}", color=INK, fontsize=9)
        axes.set_xticks(list(SEVERITIES))
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0, colors=INK, labelsize=8)
    for empty, above in zip(panels[len(kinds) :], panels[len(kinds) - columns :], strict=False):
        empty.set_axis_off()
        above.tick_params(labelbottom=True)
    drawn.supxlabel("severity", color=MUTED, fontsize=9)
    drawn.supylabel("balanced error, 95 % interval", color=MUTED, fontsize=9)
    drawn.suptitle(
        f"{title}: mean balanced error {stress.mean_balanced_error}\n"
        f"dashed: the same {stress.images:,} pictures as they are, {stress.clean}",
        color=INK,
        fontsize=11,
    )
    return drawn


def _stressed(classifier: Classifier, payload: bytes) -> NDArray[np.uint8]:
    """The network's inputs for one picture as it is and under :data:`CELLS`: shape (1 + 55, size, size, 3)."""
    pixels, spec = decode(payload).pixels, classifier.spec.input
    return np.stack([to_array(pixels, spec), *(to_array(shift(pixels, *cell), spec) for cell in CELLS)])


def _mean_of_means(*strata: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return np.asarray(np.mean([stratum.mean(axis=axis) for stratum in strata], axis=0))


def _mean(errors: Sequence[Estimate]) -> float:
    return sum(error.value for error in errors) / len(errors)
