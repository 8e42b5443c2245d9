"""Which model version the service is to serve: one small file, replaced atomically."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy import whole_file
from bloodyspy.errors import ModelUnavailable, ServiceError

NAME = "bloodyspy"
"""Name of the model, of the bento and of the service in BentoML's stores."""

PACKED = "served"
"""Alias under which a bento finds the model that was packed into it."""


class Release(BaseModel):
    """A model version that may answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    """The registry's number."""
    model: str
    """Tag in BentoML's model store."""
    path: str
    """Folder of the artefact: absolute, or relative to BentoML's home."""
    run_id: str
    digest: str
    """:attr:`bloodyspy.model.artifact.Artefact.digest`: nothing else is served under this version."""


def read_release(path: Path) -> Release:
    """What the service was told last.

    Raises:
        ModelUnavailable: nothing was told yet.
        ServiceError: the file cannot be read or says something else.
    """
    try:
        return Release.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelUnavailable(
            "No model has been released yet. Train and promote one: `make lifecycle`, or `python -m pipelines promote`."
        ) from None
    except (OSError, ValidationError) as exc:
        raise ServiceError(f"{path} does not name a release ({exc}). Promote a model again.") from exc


def write_release(path: Path, release: Release) -> None:
    """Replace the file in one step: a reader sees the old release or the new one, whenever this is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        whole_file.replace(path, (release.model_dump_json(indent=2) + "\n").encode(), mode=0o644)
    except OSError as exc:
        raise ServiceError(f"{path} cannot be written: {exc}.") from exc
