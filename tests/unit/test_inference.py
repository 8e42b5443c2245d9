"""An engine answers the same whatever the batch, though it runs in pieces of fixed sizes."""

from pathlib import Path

import numpy as np
import pytest
from handmade import write_graph
from hypothesis import given
from hypothesis import strategies as st

from bloodyspy.model.inference import BATCH, FEW, InferenceGraph, Runtime, pieces


@given(st.integers(1, BATCH))
def test_pieces_hold_all_pictures_and_are_never_mostly_empty(number: int) -> None:
    sizes = pieces(number)
    assert set(sizes) <= {1, FEW, BATCH}
    assert 0 <= sum(sizes) - number < FEW // 2


@pytest.mark.parametrize("runtime", Runtime)
def test_answers_do_not_depend_on_the_batch(tmp_path: Path, runtime: Runtime) -> None:
    write_graph(tmp_path / "graph.onnx", 32)
    graph = InferenceGraph(tmp_path / "graph.onnx", runtime=runtime)
    pictures = np.random.default_rng(0).integers(0, 256, (2 * BATCH + 5, 32, 32, 3), dtype=np.uint8)
    alone = np.concatenate([graph(picture[None]) for picture in pictures])
    for number in (1, 4, 5, FEW, FEW + 1, 2 * FEW + 5, BATCH - 1, BATCH, BATCH + 3, len(pictures)):
        np.testing.assert_allclose(graph(pictures[:number]), alone[:number], atol=1e-6)
