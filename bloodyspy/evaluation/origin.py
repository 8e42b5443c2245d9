"""``data.json`` of an artefact: which pictures a model comes from and was measured on."""

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
    counted = pd.crosstab(manifest["cell_type"], manifest["part"])
    sizes = counted.reindex(index=[str(cell) for cell in CELL_TYPES], columns=list(PARTS), fill_value=0)
    return Data(
        data_version=data_version,
        manifest_digest=manifest_digest,
        synthetic=dataset.synthetic,
        sources=dataset.sources,
        images=len(manifest),
        sizes={part: {cell: int(sizes.loc[str(cell), part]) for cell in CELL_TYPES} for part in PARTS},
    )
