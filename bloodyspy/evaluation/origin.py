"""``data.json`` of an artefact: which pictures a model comes from and was measured on."""

from collections import Counter

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.dataset.version import DatasetInfo, SourceInfo

PARTS: tuple[str, ...] = ("train", "validation", "calibration", "test", "withheld")


class Data(BaseModel):
    """The data set as the fit found it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_version: str
    """Digest of the data directory in data.dvc."""
    manifest_digest: str
    """SHA-256 of the manifest."""
    synthetic: bool
    """Whether the pictures are drawn."""
    sources: tuple[SourceInfo, ...]
    images: int = Field(ge=1)
    """Of all parts."""
    sizes: dict[str, dict[CellType, int]]
    """Images of each of the eight types in each of :data:`PARTS`."""


def data_of(data_version: str, manifest_digest: str, manifest: pd.DataFrame, dataset: DatasetInfo) -> Data:
    """What a manifest (its columns ``cell_type`` and ``part``) and ``data/dataset.json`` say."""
    counted = Counter(zip(manifest["part"], manifest["cell_type"], strict=True))
    return Data(
        data_version=data_version,
        manifest_digest=manifest_digest,
        synthetic=dataset.synthetic,
        sources=dataset.sources,
        images=len(manifest),
        sizes={part: {cell: counted[part, str(cell)] for cell in CELL_TYPES} for part in PARTS},
    )
