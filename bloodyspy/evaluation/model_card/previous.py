"""The version that was released when a card was written: what its card and scores said."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.cells import CellType
from bloodyspy.errors import ArtefactInvalid, ModelUnavailable, PreprocessMismatch
from bloodyspy.evaluation.intervals import Estimate
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import METRICS, Artefact
from bloodyspy.model.release import read_release
from bloodyspy.settings import Settings

PREVIOUS = "previous.json"
"""File of the artefact that holds it, so that the card can be checked without the other artefact."""


class Previous(BaseModel):
    """``previous.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    """The registry's number."""
    digest: str
    """Of its artefact."""
    candidate: str
    network: str
    parameters: int
    run_id: str
    git_commit: str
    data_version: str
    manifest_digest: str
    test_digest: str
    """Where it is another than this model's, the two were scored on different pictures."""
    synthetic: bool
    accuracy: Estimate
    """All scores are of the sealed test part."""
    balanced_accuracy: Estimate
    macro_f1: Estimate
    sensitivity: dict[CellType, Estimate]
    ece: float
    stress_mean_balanced_error: Estimate
    stress_digest: str
    """Where it is another than this model's, the two were stressed with different pictures."""
    megabytes_graph: float
    milliseconds_picture: float

    @classmethod
    def of(cls, version: int, artefact: Artefact, scores: Scores) -> Self:
        """The facts of a version."""
        spec, test = artefact.spec, scores.test
        return cls(
            version=version,
            digest=artefact.digest,
            candidate=spec.candidate,
            network=spec.network,
            parameters=spec.parameters,
            run_id=spec.run_id,
            git_commit=spec.git_commit,
            data_version=spec.data_version,
            manifest_digest=spec.manifest_digest,
            test_digest=scores.test_digest,
            synthetic=spec.synthetic,
            accuracy=test.accuracy,
            balanced_accuracy=test.balanced_accuracy,
            macro_f1=test.macro_f1,
            sensitivity=test.sensitivity,
            ece=test.ece,
            stress_mean_balanced_error=scores.stress.mean_balanced_error,
            stress_digest=scores.stress.digest,
            megabytes_graph=scores.cost.megabytes_graph,
            milliseconds_picture=scores.cost.milliseconds_picture,
        )


def read_previous(s: Settings, run_id: str) -> Previous | None:
    """The version that ``var/release.json`` names; None where nothing was released, or this very run.

    A release whose directory is gone, altered or of an earlier format cannot be compared with: it counts as none.
    """
    assert s.bentoml_home is not None  # Settings fills it in
    try:
        release = read_release(s.release)
        artefact = Artefact.open(s.bentoml_home / release.path)
        scores = Scores.model_validate_json((artefact.path / METRICS).read_bytes())
    except (ModelUnavailable, ArtefactInvalid, PreprocessMismatch, ValidationError):
        return None
    if release.run_id == run_id or artefact.digest != release.digest:
        return None
    return Previous.of(release.version, artefact, scores)


def write_previous(folder: Path, previous: Previous | None) -> None:
    """Put ``previous.json`` into an artefact that is being assembled; none leaves no file."""
    if previous is not None:
        (folder / PREVIOUS).write_text(previous.model_dump_json(indent=2) + "\n", encoding="utf-8")
