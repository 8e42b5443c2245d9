"""The ``prepare`` stage: every picture decoded once and kept as the field of a network's input."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.errors import DataError, DataMissing, ParamsError
from bloodyspy.images.decode import decode
from bloodyspy.images.preprocess import to_field
from bloodyspy.params import Params
from bloodyspy.settings import Settings

ARRAY_FILE = "images.npy"


def prepare(s: Settings, p: Params, input_name: str) -> Path:
    """Write ``images.npy``: uint8 of shape (n, field, field, 3), its row i the image of the manifest's row i.

    Withheld images are there, too, so that the rows agree. The file appears when it is complete.

    Returns:
        The folder, for :func:`load_prepared`.

    Raises:
        ParamsError: there is no such input.
        DataMissing: ``validate`` has not run, or an image is gone.
        DataError: an image is not the one that the manifest lists.
    """
    if input_name not in p.inputs:
        raise ParamsError(f"There is no input {input_name!r} in params.yaml. Known: {', '.join(p.inputs)}.")
    spec = p.inputs[input_name]
    manifest = read_manifest(s.manifest)
    listed = list(zip(range(len(manifest)), manifest["path"], manifest["sha256"], strict=True))
    folder = s.prepared(input_name)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{ARRAY_FILE}"
    images = open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=(len(listed), spec.field, spec.field, 3))

    def place(entry: tuple[int, str, str]) -> None:
        row, path, sha256 = entry
        images[row] = to_field(decode(_payload(s.data / path, sha256)).pixels, spec)

    in_threads(place, listed, f"Preparing {input_name}")
    images.flush()
    unfinished.replace(folder / ARRAY_FILE)
    return folder


def load_prepared(folder: Path) -> NDArray[np.uint8]:
    """The prepared images, mapped from the file and read-only: shape (n, field, field, 3).

    A network's inputs are their :func:`~bloodyspy.images.preprocess.centre`.

    Raises:
        DataMissing: ``prepare`` has not written them.
    """
    path = folder / ARRAY_FILE
    try:
        images: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except FileNotFoundError as exc:
        raise DataMissing(path, f"dvc repro prepare@{folder.name}") from exc
    return images


def _payload(path: Path, sha256: str) -> bytes:
    try:
        payload = path.read_bytes()
    except FileNotFoundError as exc:
        raise DataMissing(path, "dvc checkout data.dvc") from exc
    if hashlib.sha256(payload).hexdigest() != sha256:
        raise DataError(f"{path} is not the image that the manifest lists. List the images again with `dvc repro`.")
    return payload
