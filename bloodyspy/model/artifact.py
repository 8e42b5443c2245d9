"""The artefact: a model as a directory that is assembled once and that nothing changes afterwards.

=====================  ===========================================================================
``spec.json``          :class:`ModelSpec`: what the network is, was trained on, expects and runs in
``network.keras``      the trained network
``graph.onnx``         the same as an inference graph, float32, uint8 in, probabilities and feature maps out
``graph.int8.onnx``    the same in eight bits; only where the parity gate let it through
``inference.json``     what the gate measured of each runtime and precision, and which serves
``training.json``      the fit and the candidate's params
``data.json``          the data set: digests, sources, pictures of each class in each part
``head.npz``           what the network does with its pooled features: heat maps are made with it
``familiarity.npz``    what the training pictures are like, to tell what is unlike them
``policy.json``        the limits beyond which an answer is reviewed or refused
``reference.parquet``  observations of the calibration part: what normal pictures look like
``signatures.json``    what each fault of the laboratory does to the image statistics: a drift's cause is told by it
``typical.parquet``    a few small pictures of each type from the calibration part, for the page of a drift check
``golden.json``        drawn cells and the answers to them at assembly: what it has to answer elsewhere too
``metrics.json``       scores with intervals
``card.md``            the model card
``card.html``          the same for a browser
``previous.json``      what the card tells of the version released before; only where there was one
``digests.json``       SHA-256 of each of the files above that is there
=====================  ===========================================================================
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import ArtefactInvalid, PreprocessMismatch
from bloodyspy.images.preprocess import InputSpec, golden_hash
from bloodyspy.model.explanation import HEAD
from bloodyspy.model.familiarity import FAMILIARITY
from bloodyspy.model.inference import Precision, Runtime
from bloodyspy.observation import Provenance
from bloodyspy.policy import POLICY

SPEC, NETWORK, GRAPH, GRAPH_INT8 = "spec.json", "network.keras", "graph.onnx", "graph.int8.onnx"
INFERENCE, TRAINING, DATA = "inference.json", "training.json", "data.json"
REFERENCE, TYPICAL, SIGNATURES = "reference.parquet", "typical.parquet", "signatures.json"
METRICS, CARD, CARD_HTML = "metrics.json", "card.md", "card.html"
GOLDEN, DIGESTS = "golden.json", "digests.json"
FILES = (
    *(SPEC, NETWORK, GRAPH, INFERENCE, TRAINING, DATA, HEAD, FAMILIARITY, POLICY, REFERENCE, TYPICAL, SIGNATURES),
    *(GOLDEN, METRICS, CARD, CARD_HTML),
)
"""What every artefact has; :attr:`Artefact.files` is what this one has."""


class ModelSpec(BaseModel):
    """The facts of a model that whoever runs it must know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[5] = 5
    candidate: str
    network: str
    input: InputSpec
    golden: str
    """:func:`bloodyspy.images.preprocess.golden_hash` on the machine that trained."""
    classes: tuple[str, ...] = tuple(CELL_TYPES)
    run_id: str
    """MLflow run of the fit."""
    git_commit: str
    data_version: str
    """Digest of the data directory in data.dvc."""
    manifest_digest: str
    """SHA-256 of the manifest."""
    synthetic: bool
    """Whether it was trained on drawn cells; every number from it then says so."""
    parameters: int
    """Trained weights of the network."""
    temperature: float = Field(gt=0)
    """Divides the logits: the graph's probabilities p become p^(1/T), renormalised. Fitted on the calibration part."""
    runtime: Runtime
    """The engine that serves, as measured: see ``inference.json``."""
    precision: Precision
    """Of the graph that serves."""

    @property
    def graph(self) -> str:
        """Name of the graph that serves."""
        return GRAPH_INT8 if self.precision is Precision.INT8 else GRAPH

    @property
    def provenance(self) -> Provenance:
        """What every observation of this model carries."""
        return Provenance(run_id=self.run_id, data_version=self.data_version)


@dataclass(frozen=True, slots=True)
class Artefact:
    """A model directory that was checked on opening."""

    path: Path
    spec: ModelSpec
    digest: str
    """SHA-256 over ``digests.json``: the identity of the whole."""

    @classmethod
    def open(cls, path: Path) -> "Artefact":
        """Check a directory file by file and read its spec.

        Raises:
            ArtefactInvalid: a file is missing or altered, or the format is another one.
            PreprocessMismatch: pictures are prepared differently here.
        """
        listed = read_digests(path)
        # First the spec: of another format, the artefact may well have other files.
        _check(path, SPEC, listed)
        try:
            spec = ModelSpec.model_validate_json((path / SPEC).read_bytes())
        except ValidationError as exc:
            raise ArtefactInvalid(path, f"{SPEC} is of another format ({exc.error_count()} faults)") from exc
        for name in dict.fromkeys((*FILES, spec.graph, *listed)):
            _check(path, name, listed)
        if spec.classes != tuple(CELL_TYPES):
            raise ArtefactInvalid(path, "its classes are not the eight cell types in their order")
        if (found := golden_hash(spec.input)) != spec.golden:
            raise PreprocessMismatch(spec.golden, found)
        return cls(path=path, spec=spec, digest=sha256(path / DIGESTS))

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all its files, the table of digests included; a store may have put others beside them."""
        return (*read_digests(self.path), DIGESTS)


def seal(path: Path) -> Artefact:
    """Write ``digests.json`` over a directory that holds at least the files of :data:`FILES`, and open it."""
    present = sorted(file.name for file in path.iterdir() if file.is_file() and file.name != DIGESTS)
    missing = [name for name in FILES if name not in present]
    if missing:
        raise ArtefactInvalid(path, f"{', '.join(missing)} not written")
    digests = {name: sha256(path / name) for name in present}
    (path / DIGESTS).write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")
    return Artefact.open(path)


def _check(path: Path, name: str, listed: dict[str, str]) -> None:
    if name != Path(name).name:
        raise ArtefactInvalid(path, f"{DIGESTS} names {name!r}, which is no file of it")
    if name not in listed or not (path / name).is_file():
        raise ArtefactInvalid(path, f"{name} is missing")
    if sha256(path / name) != listed[name]:
        raise ArtefactInvalid(path, f"{name} was altered after assembly")


def read_digests(path: Path) -> dict[str, str]:
    """The digests that a directory claims for its files."""
    try:
        listed = json.loads((path / DIGESTS).read_bytes())
    except FileNotFoundError as exc:
        raise ArtefactInvalid(path, f"{DIGESTS} is missing") from exc
    except json.JSONDecodeError as exc:
        raise ArtefactInvalid(path, f"{DIGESTS} is not JSON") from exc
    if not isinstance(listed, dict):
        raise ArtefactInvalid(path, f"{DIGESTS} is not a table of digests")
    return {str(name): str(digest) for name, digest in listed.items()}


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
