"""An engine answers the same whatever the batch, though it runs in pieces of fixed sizes."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from handmade import make_artefact, write_graph
from hypothesis import given
from hypothesis import strategies as st
from pictures import tinted

from bloodyspy.errors import UnreadableImage
from bloodyspy.images.decode import decode
from bloodyspy.images.statistics import describe
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.inference import BATCH, FEW, InferenceGraph, Runtime, pieces
from bloodyspy.observation import Observation


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


@pytest.mark.parametrize("runtime", Runtime)
def test_what_is_done_meanwhile_is_done_once_and_changes_nothing(tmp_path: Path, runtime: Runtime) -> None:
    write_graph(tmp_path / "graph.onnx", 32)
    graph = InferenceGraph(tmp_path / "graph.onnx", runtime=runtime)
    pictures = np.random.default_rng(0).integers(0, 256, (2 * BATCH + 5, 32, 32, 3), dtype=np.uint8)
    for number in (0, 1, FEW + 1, len(pictures)):
        calls: list[int] = []
        inferred = graph.infer(pictures[:number], meanwhile=lambda calls=calls: calls.append(1))
        assert calls == [1]
        np.testing.assert_array_equal(inferred.features, graph.infer(pictures[:number]).features)


@pytest.mark.parametrize("runtime", Runtime)
def test_what_fails_meanwhile_is_told_and_the_graph_goes_on(tmp_path: Path, runtime: Runtime) -> None:
    write_graph(tmp_path / "graph.onnx", 32)
    graph = InferenceGraph(tmp_path / "graph.onnx", runtime=runtime)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    expected = graph(pictures)
    for number in (1, 2):
        with pytest.raises(ZeroDivisionError):
            graph.infer(pictures[:number], meanwhile=lambda: 1 // 0)
    np.testing.assert_array_equal(graph(pictures), expected)


@pytest.mark.parametrize("runtime", Runtime)
def test_statistics_stay_with_their_pictures_whichever_cannot_be_read(tmp_path: Path, runtime: Runtime) -> None:
    classifier = Classifier.load(make_artefact(tmp_path / "model", runtime=runtime).path)
    colours = [tinted(position) for position in range(3)]
    broken = colours[0][:40]
    for payloads in permutations([*colours, broken]):
        for payload, seen in zip(payloads, classifier.observe_all(payloads), strict=True):
            if payload is broken:
                assert isinstance(seen, UnreadableImage)
            else:
                assert isinstance(seen, Observation)
                assert seen.statistics == describe(decode(payload).pixels)
    (refused,) = classifier.observe_all([broken])
    assert isinstance(refused, UnreadableImage)
