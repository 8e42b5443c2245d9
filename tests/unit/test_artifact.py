"""The artefact's format: what is in it is whole, what is not whole is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from handmade import make_artefact

from bloodyspy.errors import ArtefactInvalid
from bloodyspy.model import artifact
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.inference import InferenceGraph, Precision, Runtime


@pytest.fixture
def made(tmp_path: Path) -> Artefact:
    return make_artefact(tmp_path / "artefact")


@pytest.mark.parametrize("name", artifact.FILES)
def test_every_file_is_needed_and_watched(made: Artefact, name: str) -> None:
    content = (made.path / name).read_bytes()
    (made.path / name).write_bytes(content + b" ")
    with pytest.raises(ArtefactInvalid, match=f"{name} was altered"):
        Artefact.open(made.path)
    (made.path / name).unlink()
    with pytest.raises(ArtefactInvalid, match=f"{name} is missing"):
        Artefact.open(made.path)
    (made.path / name).write_bytes(content)
    assert Artefact.open(made.path).digest == made.digest


def test_the_int8_graph_is_watched_where_there_is_one(made: Artefact) -> None:
    assert artifact.GRAPH_INT8 not in made.files
    (made.path / artifact.GRAPH_INT8).write_bytes(b"eight bits")
    sealed = artifact.seal(made.path)
    assert artifact.GRAPH_INT8 in sealed.files
    assert sealed.digest != made.digest
    (made.path / artifact.GRAPH_INT8).write_bytes(b"other bits")
    with pytest.raises(ArtefactInvalid, match=r"graph\.int8\.onnx was altered"):
        Artefact.open(made.path)


def test_a_spec_that_serves_a_graph_that_is_not_there_is_refused(made: Artefact) -> None:
    spec = made.spec.model_copy(update={"precision": Precision.INT8})
    assert spec.graph == artifact.GRAPH_INT8
    (made.path / artifact.SPEC).write_text(spec.model_dump_json())
    with pytest.raises(ArtefactInvalid, match=r"graph\.int8\.onnx is missing"):
        artifact.seal(made.path)


def test_what_a_store_puts_beside_it_is_not_its_own(made: Artefact) -> None:
    (made.path / "model.yaml").write_text("name: bloodyspy\n")
    assert Artefact.open(made.path).digest == made.digest
    assert set(made.files) == {*artifact.FILES, artifact.DIGESTS}


def test_the_first_format_is_refused_by_its_format(made: Artefact) -> None:
    spec = json.loads((made.path / artifact.SPEC).read_text())
    (made.path / artifact.SPEC).write_text(json.dumps(spec | {"format": 1}))
    digests = {name: artifact.sha256(made.path / name) for name in (artifact.SPEC, artifact.GRAPH)}
    (made.path / artifact.DIGESTS).write_text(json.dumps(digests))
    with pytest.raises(ArtefactInvalid, match="another format"):
        Artefact.open(made.path)


def test_digests_name_only_files_of_the_directory(made: Artefact) -> None:
    listed = json.loads((made.path / artifact.DIGESTS).read_text())
    (made.path / artifact.DIGESTS).write_text(json.dumps({**listed, "../elsewhere": "0" * 64}))
    with pytest.raises(ArtefactInvalid, match="no file of it"):
        Artefact.open(made.path)


@pytest.mark.parametrize("runtime", Runtime)
def test_the_loader_applies_the_temperature(tmp_path: Path, runtime: Runtime) -> None:
    plain = make_artefact(tmp_path / "plain", runtime=runtime)
    cooled = make_artefact(tmp_path / "cooled", runtime=runtime, temperature=2.0)
    pictures = np.random.default_rng(1).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    answers = InferenceGraph(plain.path / artifact.GRAPH)(pictures)
    np.testing.assert_allclose(Classifier(plain).probabilities(pictures), answers, atol=1e-6)
    # softmax(logits / 2) is the square root of softmax(logits), renormalised
    expected = np.sqrt(answers) / np.sqrt(answers).sum(axis=1, keepdims=True)
    found = Classifier(cooled).probabilities(pictures)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert Classifier(cooled).probabilities(pictures[:0]).shape == (0, 8)
