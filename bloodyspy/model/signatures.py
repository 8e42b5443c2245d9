"""The marks that faults of the laboratory leave in the image statistics; ``signatures.json`` of an artefact.

:mod:`bloodyspy.evaluation.signatures` measures them at assembly, the drift check names a probable cause by them.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.errors import ArtefactInvalid
from bloodyspy.images.corruption import Shift
from bloodyspy.model.artifact import SIGNATURES


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Signature(_Frozen):
    """The mark that one fault leaves."""

    kind: Shift
    severity: int = Field(ge=1, le=5)
    changes: dict[str, float]
    """Mean change of each statistic but width and height, in its own unit."""


class Signatures(_Frozen):
    """``signatures.json`` of an artefact."""

    images: int = Field(ge=1)
    """That were measured under each fault."""
    known: tuple[Signature, ...]

    @classmethod
    def read(cls, folder: Path) -> "Signatures":
        """Of an artefact.

        Raises:
            ArtefactInvalid: ``signatures.json`` is of another format.
        """
        try:
            return cls.model_validate_json((folder / SIGNATURES).read_bytes())
        except ValidationError as exc:
            raise ArtefactInvalid(folder, f"{SIGNATURES} is of another format ({exc.error_count()} faults)") from exc
