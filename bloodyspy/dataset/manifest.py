"""The manifest: one row per image with everything later steps need to know of it."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bloodyspy.cells import subtype_of
from bloodyspy.dataset.download import digest_of
from bloodyspy.dataset.duplicates import fingerprint, pairs_within
from bloodyspy.dataset.holdings import AUDITED, LABELLED, image_paths, read_sources
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.dataset.split import assign
from bloodyspy.errors import DataError, DataMissing, ImageError
from bloodyspy.images.decode import decode
from bloodyspy.images.statistics import STATISTICS, ImageStatistics, describe
from bloodyspy.params import Split

_WHOLE = ("width", "height")  # the statistics that are whole numbers
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),  # relative to data/
        pa.field("cell_type", pa.string(), nullable=False),
        pa.field("subtype", pa.string()),  # null where the file name tells none
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("phash", pa.string(), nullable=False),  # perceptual hash, 64 hex digits
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("part", pa.string(), nullable=False),
        *(pa.field(name, pa.int64() if name in _WHOLE else pa.float64(), nullable=False) for name in STATISTICS),
    ]
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)


@dataclass(frozen=True, slots=True)
class _Facts:
    sha256: str
    phash: str
    bytes: int
    format: str
    statistics: ImageStatistics


def build_manifest(data: Path, split: Split) -> pd.DataFrame:
    """Decode every image of data/ once and list it, sorted by path.

    Args:
        data: the data set.
        split: shares of the parts, and how near a near-duplicate is.

    Returns:
        A frame of :data:`COLUMNS`, statistics rounded to six decimals.

    Raises:
        DataMissing: there is no data set.
        DataError: an image does not decode: data/ was changed after the import.
    """
    sources = read_sources(data)
    paths = image_paths(data)
    facts = in_threads(_facts, paths, "Describing images")
    names = [path.relative_to(data).as_posix() for path in paths]
    near = pairs_within([fact.phash for fact in facts], split.near_duplicate_bits)
    labelled, audited = (
        [i for i, name in enumerate(names) if sources.get(name) == source] for source in (LABELLED, AUDITED)
    )
    parts = assign([fact.sha256 for fact in facts], near, split, labelled=labelled, audited=audited)
    rows = [
        {
            "path": name,
            "cell_type": path.parent.name,
            "subtype": subtype_of(path.name),
            "sha256": fact.sha256,
            "phash": fact.phash,
            "bytes": fact.bytes,
            "format": fact.format,
            "source": sources.get(name, "unknown"),
            "part": part.value,
            **{key: round(value, 6) for key, value in dataclasses.asdict(fact.statistics).items()},
        }
        for name, path, fact, part in zip(names, paths, facts, parts, strict=True)
    ]
    frame: pd.DataFrame = pa.Table.from_pylist(sorted(rows, key=lambda row: row["path"]), SCHEMA).to_pandas()
    return frame


def write_manifest(frame: pd.DataFrame, path: Path) -> None:
    """Write the manifest: equal frames give equal bytes, and a half-written file is never seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    table = pa.Table.from_pandas(frame, SCHEMA, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, unfinished)
    unfinished.replace(path)


def read_manifest(path: Path) -> pd.DataFrame:
    """The manifest as a frame of :data:`COLUMNS`, sorted by path, its index 0 to n - 1.

    Raises:
        DataMissing: ``validate`` has not written it.
        DataError: the file is damaged, or of other columns.
    """
    try:
        frame: pd.DataFrame = pq.read_table(path).to_pandas()
    except FileNotFoundError as exc:
        raise DataMissing(path, "dvc repro validate") from exc
    except pa.ArrowInvalid as exc:
        raise DataError(f"{path} is no readable manifest ({exc}). Write it again with `dvc repro validate`.") from exc
    if tuple(frame.columns) != COLUMNS:
        raise DataError(f"{path} has other columns than this version writes. Write it again with `dvc repro validate`.")
    return frame


def digest(path: Path) -> str:
    """SHA-256 of the manifest's bytes, 64 hex digits.

    Raises:
        DataMissing: ``validate`` has not written it.
    """
    try:
        return digest_of(path)
    except FileNotFoundError as exc:
        raise DataMissing(path, "dvc repro validate") from exc


def _facts(path: Path) -> _Facts:
    payload = path.read_bytes()
    try:
        picture = decode(payload)
    except ImageError as exc:
        raise DataError(
            f"{path} does not decode: data/ was changed after its import. "
            "Restore it with `dvc checkout --force data.dvc`, or import again with --replace."
        ) from exc
    return _Facts(
        sha256=hashlib.sha256(payload).hexdigest(),
        phash=fingerprint(picture.pixels),
        bytes=len(payload),
        format=picture.format,
        statistics=describe(picture.pixels),
    )
