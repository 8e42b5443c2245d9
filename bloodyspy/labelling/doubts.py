"""Which labels the rest of the labels contradicts, by features that know none of them.

Each image is judged by a logistic regression that was fitted without it and without its near-duplicates, in five folds.
What is doubtful then is cleanlab's (Northcutt, Jiang, Chuang 2021, "Confident learning").
"""

from collections.abc import Sequence

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.duplicates import pairs_within
from bloodyspy.errors import LabellingError

FOLDS = 5
SEED = 1


def out_of_sample(
    features: NDArray[np.float32], labels: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What regressions that were fitted without an image's group say of it.

    Args:
        features: (n, channels).
        labels: positions of the types, (n,).
        groups: images of one group are never on both sides, (n,).

    Returns:
        Probabilities, (n, 8), rows sum to 1; 0 for types that no image has.

    Raises:
        LabellingError: a type has too few images.
    """
    present, counts = np.unique(labels, return_counts=True)
    if len(present) < 2 or counts.min() < FOLDS:
        raise LabellingError(
            f"Labels are doubted by {FOLDS} regressions, each on four fifths of the images: every type needs at least "
            f"{FOLDS} images outside the sealed part, and one has {counts.min() if len(counts) else 0}. Import more."
        )
    probabilities = np.zeros((len(labels), len(CELL_TYPES)))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED).split(features, labels, groups)
    for fitted, judged in folds:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        model.fit(features[fitted], labels[fitted])
        columns = model[-1].classes_
        probabilities[np.ix_(judged, columns)] = model.predict_proba(features[judged])
    return probabilities


def doubtful(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[tuple[int, float]]:
    """Indices of doubtful labels, the most doubtful first, with the probability of each label.

    Args:
        labels: positions of the types, (n,).
        probabilities: out of sample, (n, 8).
    """
    present, dense = np.unique(labels, return_inverse=True)  # cleanlab takes no type that has no image
    shares = probabilities[:, present] / probabilities[:, present].sum(axis=1, keepdims=True)
    issues = find_label_issues(dense, shares, return_indices_ranked_by="self_confidence", n_jobs=1)
    quality = get_label_quality_scores(dense, shares, method="self_confidence")
    return [(int(i), float(quality[i])) for i in issues]


def groups(fingerprints: Sequence[str], bits: int) -> NDArray[np.int64]:
    """A number for each image, (n,); near-duplicates have the same."""
    group = np.arange(len(fingerprints))
    for first, second in pairs_within(fingerprints, bits):
        group[group == group[second]] = group[first]
    return group
