"""The chance of training: every seed of a candidate, scored as the one that is kept."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bloodyspy.cells import CellType
from bloodyspy.evaluation.metrics import score
from bloodyspy.evaluation.scores import Seeds, SeedScore
from bloodyspy.model.calibration import fit_temperature, tempered
from bloodyspy.model.export import answers
from bloodyspy.model.fits import Fit, network_of

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]


def measure(fit: Fit, folder: Path, parts: Mapping[str, Labelled]) -> Seeds | None:
    """Score the network of each seed, in Keras, with a temperature of its own.

    Args:
        fit: in ``folder``.
        folder: ``build/fits/<candidate>``.
        parts: network inputs and labels of ``validation``, ``calibration`` and ``test``.

    Returns:
        None where the candidate was trained once.
    """
    if len(fit.seeds) == 1:
        return None
    runs = []
    for one in fit.seeds:
        network = network_of(folder, one.seed)
        found = {part: answers(network, images) for part, (images, _) in parts.items()}
        temperature = fit_temperature(parts["calibration"][1], found["calibration"])
        validation, test = (score(parts[p][1], tempered(found[p], temperature)) for p in ("validation", "test"))
        ig = test.sensitivity.get(CellType.IG)
        runs.append(
            SeedScore(
                seed=one.seed,
                run_id=one.run_id,
                validation_accuracy=validation.accuracy.value,
                test_accuracy=test.accuracy.value,
                test_balanced_accuracy=test.balanced_accuracy.value,
                test_ig_sensitivity=ig.value if ig else None,
                test_ece=test.ece,
            )
        )
    return Seeds.of(runs)
