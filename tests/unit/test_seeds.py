"""Every seed of a candidate is scored, whatever the sealed part holds."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bloodyspy.cells import CellType
from bloodyspy.evaluation import seeds
from bloodyspy.images.preprocess import InputSpec
from bloodyspy.model.fits import Fit, SeedFit


def fit_of(*numbers: int) -> Fit:
    facts = {"epochs": 3, "kept_epoch": 2, "val_loss": 0.1, "val_accuracy": 0.9, "val_balanced_accuracy": 0.9}
    return Fit(
        run_id="a" * 32,
        candidate="small_cnn",
        network="small_cnn",
        input=InputSpec(size=64),
        parameters=8,
        seeds=tuple(SeedFit(seed=n, run_id=f"{n:032x}", seconds=1.0, **facts) for n in numbers),  # type: ignore[arg-type]
        seed=numbers[0],
        git_commit="c" * 40,
        data_version="d" * 32,
        manifest_digest="e" * 64,
        synthetic=True,
    )


@pytest.mark.parametrize("with_ig", [True, False])
def test_a_sealed_part_without_ig_has_no_sensitivity_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, with_ig: bool
) -> None:
    def answers(network: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Right but for the images that are marked with 255, which are taken for the next type."""
        wrong = images[:, 0, 0, 1] == 255
        probabilities = np.full((len(images), 8), 0.01, dtype=np.float32)
        probabilities[np.arange(len(images)), (images[:, 0, 0, 0] + wrong) % 8] = 0.93
        return probabilities

    monkeypatch.setattr(seeds, "answers", answers)
    labels = np.repeat(np.arange(8), 4)
    if not with_ig:
        labels = labels[labels != CellType.IG.position]
    images = np.zeros((len(labels), 2, 2, 3), dtype=np.uint8)
    images[..., 0] = labels[:, None, None]
    images[::4, ..., 1] = 255  # one of each type
    parts = dict.fromkeys(("validation", "calibration", "test"), (images, labels))
    found = seeds.measure(fit_of(1, 2), tmp_path, parts)
    assert found is not None
    assert [run.test_ig_sensitivity for run in found.runs] == [0.75 if with_ig else None] * 2
    assert found.mean.test_balanced_accuracy == pytest.approx(0.75)
    assert seeds.measure(fit_of(1), tmp_path, parts) is None
