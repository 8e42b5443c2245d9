"""Reading PyTorch weights without PyTorch, and refusing what is no table of tensors."""

import io
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from bloodyspy.errors import WeightsUnavailable
from bloodyspy.model.weights import lite_file, locate, read_torch

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True}
HEAD = b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, SYSTEM))


def torch_file(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0, values: int = 12, announced: int = 12
) -> bytes:
    """What torch.save(OrderedDict(kernel=tensor), _use_new_zipfile_serialization=False) writes, opcode by opcode."""
    table = io.BytesIO()
    write = table.write
    write(b"\x80\x02ccollections\nOrderedDict\n)R(X\x06\x00\x00\x00kernel")
    write(b"ctorch._utils\n_rebuild_tensor_v2\n((")
    write(b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x007X\x03\x00\x00\x00cpu")
    write(b"J" + struct.pack("<i", announced) + b"NtQ" + b"J" + struct.pack("<i", offset))
    for numbers in (shape, strides):
        write(b"(" + b"".join(b"J" + struct.pack("<i", number) for number in numbers) + b"t")
    write(b"\x89ccollections\nOrderedDict\n)RtRu.")
    storage = struct.pack("<q", announced) + np.arange(values, dtype="<f4").tobytes()
    return HEAD + table.getvalue() + pickle.dumps(["7"], 2) + storage


def written(folder: Path, content: bytes) -> Path:
    path = folder / "weights.pth"
    path.write_bytes(content)
    return path


def test_every_tensor_of_the_wheel_is_read() -> None:
    tensors = read_torch(lite_file("efficientnet_lite0"))
    trained = {name: array for name, array in tensors.items() if array.dtype == np.float32}
    assert trained["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert trained["_fc.weight"].shape == (1000, 1280)
    # 4,652,008 weights as published, and a mean and a variance for each of the 21,008 normalised channels
    assert sum(a.size for name, a in trained.items() if "running" not in name) == 4_652_008
    assert all(np.isfinite(array).all() for array in trained.values())
    assert all((array >= 0).all() for name, array in trained.items() if name.endswith("running_var"))


def test_strides_are_respected(tmp_path: Path) -> None:
    tensors = read_torch(written(tmp_path, torch_file((3, 4), (1, 3))))
    np.testing.assert_array_equal(tensors["kernel"], np.arange(12, dtype=np.float32).reshape(4, 3).T)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(torch_file((3, 4), (4, 1), offset=1), "larger than its storage", id="past the end"),
        pytest.param(torch_file((3, 4), (400, 1)), "larger than its storage", id="huge stride"),
        pytest.param(torch_file((3, 4), (-4, 1)), "impossible shape", id="negative stride"),
        pytest.param(torch_file((3, 4), (4,)), "impossible shape", id="stride missing"),
        pytest.param(torch_file((3, 4), (4, 1), values=5), "cut off", id="truncated"),
        pytest.param(torch_file((3, 4), (4, 1), announced=-1), "cut off", id="negative count"),
        pytest.param(pickle.dumps(5, 2) * 3, "another format|cannot be read", id="no magic number"),
        pytest.param(b"PK\x03\x04" + bytes(100), "cannot be read", id="zip"),
        pytest.param(b"", "cannot be read", id="empty"),
    ],
)
def test_a_file_that_does_not_hold_what_it_says_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(WeightsUnavailable, match=reason):
        read_torch(written(tmp_path, content))


class _Hostile:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("place", ["first pickle", "table"])
def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path: Path, place: str) -> None:
    witness = tmp_path / "ran"
    content = pickle.dumps(_Hostile(witness), 2)
    path = written(tmp_path, content if place == "first pickle" else HEAD + content)
    with pytest.raises(WeightsUnavailable, match="mkdir"):
        read_torch(path)
    assert not witness.exists()


@pytest.mark.parametrize("name", ["builtins\neval", "numpy\nload", "torch\nload", "collections\nnamedtuple"])
def test_no_global_beyond_the_needed_ones_is_resolved(tmp_path: Path, name: str) -> None:
    with pytest.raises(WeightsUnavailable, match="no table of tensors needs"):
        read_torch(written(tmp_path, HEAD + f"c{name}\n.".encode()))


def test_a_file_is_found_in_the_weights_folder_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, here = tmp_path / "weights", tmp_path / "here"
    for place in (folder, here):
        place.mkdir()
        (place / "net.h5").touch()
    monkeypatch.chdir(here)
    assert locate("net.h5", folder) == folder / "net.h5"
    assert locate("net.h5", None) == here / "net.h5"
    assert locate(str(here / "net.h5"), folder) == here / "net.h5"
    assert locate("imagenet", folder) is None
    assert locate("none", folder) is None


def test_an_absent_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=rf"{tmp_path}/net\.h5.*params\.yaml"):
        locate("net.h5", tmp_path)
