"""Which labels the rest contradicts: wrong ones are found, near-duplicates do not vouch for each other."""

import numpy as np
import pytest

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import LabellingError
from bloodyspy.labelling.doubts import doubtful, groups, out_of_sample


def clusters(each: int, seed: int = 0, spread: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Features of eight types that lie apart, and their labels."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(CELL_TYPES)), each)
    centres = random.normal(size=(len(CELL_TYPES), 40))
    return (centres[labels] + random.normal(scale=spread, size=(len(labels), 40))).astype(np.float32), labels


def test_wrong_labels_are_found_and_right_ones_left_alone() -> None:
    features, truth = clusters(30, spread=0.25)
    labels, wrong = truth.copy(), [3, 50, 77, 140, 201]
    labels[wrong] = (truth[wrong] + 3) % len(CELL_TYPES)
    probabilities = out_of_sample(features, labels, np.arange(len(labels)))
    found = doubtful(labels, probabilities)
    assert sorted(i for i, _ in found) == wrong
    assert [quality for _, quality in found] == sorted(quality for _, quality in found)
    assert (probabilities[wrong].argmax(axis=1) == truth[wrong]).all()


def test_copies_with_the_same_wrong_label_do_not_vouch_for_each_other() -> None:
    features, labels = clusters(30)
    copies = np.repeat(features[:1], 6, axis=0) + np.random.default_rng(1).normal(scale=0.001, size=(6, 40))
    features, labels = np.concatenate([features, copies.astype(np.float32)]), np.concatenate([labels, np.full(6, 5)])
    together = np.concatenate([np.arange(240), np.full(6, 240)])
    apart = out_of_sample(features, labels, np.arange(246))[240:, 5]
    assert (out_of_sample(features, labels, together)[240:, 5] < apart).all()


def test_types_that_are_not_there_and_types_with_too_few() -> None:
    features, labels = clusters(10)
    few = labels < 3
    probabilities = out_of_sample(features[few], labels[few], np.arange(few.sum()))
    assert probabilities[:, 3:].max() == 0
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert doubtful(labels[few], probabilities) == []
    with pytest.raises(LabellingError, match="Import more"):
        out_of_sample(features[:14], labels[:14], np.arange(14))


def test_near_duplicates_are_one_group() -> None:
    prints = ["0" * 64, "f" * 64, "0" * 63 + "1", "0" * 63 + "3", "f" * 63 + "e"]
    found = groups(prints, 1)
    assert found[0] == found[2] == found[3]
    assert found[1] == found[4] != found[0]
