"""Which data this is: the version that DVC tracks, and where the images came from."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.errors import DataError, DataMissing

DATASET_FILE = "dataset.json"


class SourceInfo(BaseModel):
    """What became of one source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    images: int = Field(ge=0, description="files at its last import: taken, already there, quarantined")
    taken: int = Field(ge=0, description="images of data/ that came from this source first")
    quarantined: int = Field(ge=0, description="entries of this source in quarantine.csv")


class DatasetInfo(BaseModel):
    """``data/dataset.json``: no times and no absolute paths, so that equal imports give equal bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    synthetic: bool
    sources: tuple[SourceInfo, ...] = ()


def read_dataset(data: Path) -> DatasetInfo:
    """What ``data/`` says of itself.

    Raises:
        DataMissing: there is no data set.
        DataError: its description was damaged.
    """
    path = data / DATASET_FILE
    try:
        return DatasetInfo.model_validate_json(path.read_bytes())
    except FileNotFoundError as exc:
        raise DataMissing(path, "bloodyspy data import SOURCE` or `dvc pull data.dvc") from exc
    except ValidationError as exc:
        fault = exc.errors()[0]["msg"]
        raise DataError(f"{path} is damaged ({fault}). Restore data/ with `dvc checkout --force data.dvc`.") from exc


def data_version(root: Path) -> str:
    """The data version: the digest in ``data.dvc`` that DVC gave the folder, 32 hex digits.

    Raises:
        DataMissing: data/ was never versioned.
        DataError: data.dvc is not what DVC writes.
    """
    path = root / "data.dvc"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return str(content["outs"][0]["md5"]).removesuffix(".dir")
    except FileNotFoundError as exc:
        raise DataMissing(path, "dvc add data") from exc
    except (yaml.YAMLError, KeyError, IndexError, TypeError) as exc:
        raise DataError(f"{path} names no data version ({exc!r}). Write it again with `dvc add data`.") from exc
