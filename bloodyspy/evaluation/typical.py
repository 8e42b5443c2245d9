"""A few pictures that say what each type looks like at home: shown beside a window's on the page of a drift check."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.scoring import inputs_of
from bloodyspy.images.decode import decode
from bloodyspy.images.small import small
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.familiarity import pooled
from bloodyspy.model.inference import InferenceGraph
from bloodyspy.params import Params
from bloodyspy.settings import Settings

COUNT = 4
"""Pictures of each type, or as many as there are."""

_BATCH = 256  # pictures whose feature maps are in memory at a time


def typical(classifier: Classifier, s: Settings, p: Params, images: pd.DataFrame) -> pd.DataFrame:
    """The pictures nearest to the middle of their type in what the network's head sees.

    Args:
        classifier: whose eyes these are.
        images: rows of the manifest, with its index.

    Returns:
        ``cell_type`` and ``jpeg`` (96 by 96 pixels), the types in their order, the most typical first.
    """
    spec = classifier.spec
    graph = InferenceGraph(classifier.artefact.path / spec.graph, s.threads, spec.runtime, spec.precision)
    seen = np.concatenate(
        [
            pooled(graph.infer(inputs_of(spec.input, s, p, images.iloc[i : i + _BATCH])).features)
            for i in range(0, len(images), _BATCH)
        ]
    )
    chosen = [
        {"cell_type": str(cell), "jpeg": small(decode((s.data / images["path"].iloc[row]).read_bytes()).pixels)}
        for cell in CELL_TYPES
        for row in _nearest(seen, np.flatnonzero(images["cell_type"].to_numpy() == str(cell)))
    ]
    return pd.DataFrame(chosen, columns=["cell_type", "jpeg"])


def _nearest(seen: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of ``rows``, those nearest to their mean; the earlier row where two are as near."""
    if not len(rows):
        return rows
    here = seen[rows].astype(np.float64)
    apart = np.linalg.norm(here - here.mean(axis=0), axis=1)
    return rows[np.argsort(apart, kind="stable")[:COUNT]]
