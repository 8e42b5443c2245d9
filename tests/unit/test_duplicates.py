"""Perceptual hashes: which pictures show the same cell."""

import io

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from bloodyspy.dataset.duplicates import BITS, fingerprint, nearest_elsewhere, pairs_within
from bloodyspy.images.decode import decode


def hashes(count: int, seed: int = 0) -> list[str]:
    """Random ones, every seventh a copy of the one before with three bits turned."""
    rng = np.random.default_rng(seed)
    words = rng.bytes(32 * count)
    found = [bytearray(words[32 * i : 32 * i + 32]) for i in range(count)]
    for i in range(7, count, 7):
        found[i] = bytearray(found[i - 1])
        for bit in rng.choice(256, 3, replace=False):
            found[i][bit // 8] ^= 1 << (bit % 8)
    return [bytes(one).hex() for one in found]


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("bits", [0, 2, 3, 100])
@pytest.mark.parametrize("count", [0, 1, 2, 300, 600])
def test_pairs_are_those_that_counting_bit_by_bit_finds(count: int, bits: int) -> None:
    some = hashes(count)
    expected = {(i, j) for j in range(count) for i in range(j) if distance(some[i], some[j]) <= bits}
    found = pairs_within(some, bits)
    assert found.shape == (len(expected), 2)
    assert set(map(tuple, found.tolist())) == expected


def test_the_nearest_picture_elsewhere_is_found_across_blocks() -> None:
    some = hashes(600)
    groups = ["ab"[i % 2] for i in range(600)]
    expected = [
        min(distance(a, b) for b, h in zip(some, groups, strict=True) if h != g)
        for a, g in zip(some, groups, strict=True)
    ]
    assert nearest_elsewhere(some, groups).tolist() == expected


def test_one_group_has_no_elsewhere() -> None:
    assert nearest_elsewhere(hashes(3), ["a"] * 3).tolist() == [BITS + 1] * 3
    assert nearest_elsewhere([], []).tolist() == []


def test_a_copy_re_encoded_and_scaled_is_near_and_another_picture_is_far() -> None:
    original = decode(picture(1, side=360)).pixels
    stream = io.BytesIO()
    Image.fromarray(original).resize((224, 224)).save(stream, "JPEG", quality=60)
    one, copy, other = (fingerprint(p) for p in (original, decode(stream.getvalue()).pixels, decode(picture(2)).pixels))
    assert distance(one, copy) <= 8
    assert distance(one, other) > 60
