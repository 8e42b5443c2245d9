"""The split: by content, stable, and never with the same cell on two sides."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bloodyspy.dataset.split import RANK, Part, assign, part_of
from bloodyspy.params import Split

SPLIT = Split(test=0.15, validation=0.08, calibration=0.07, near_duplicate_bits=44)
DIGESTS = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(20_000)]
NONE = np.empty((0, 2), dtype=np.int64)

shares = st.floats(0.01, 0.3)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


@pytest.mark.parametrize(
    ("part", "share"), [("test", 0.15), ("validation", 0.08), ("calibration", 0.07), ("train", 0.70)]
)
def test_parts_have_their_shares(part: str, share: float) -> None:
    found = np.mean([part_of(digest, SPLIT) == part for digest in DIGESTS])
    assert found == pytest.approx(share, abs=0.008)  # three standard deviations of the widest


@given(digests, shares, shares, shares, shares)
def test_other_shares_move_nothing_into_or_out_of_the_sealed_part(
    digest: str, v: float, c: float, other_v: float, other_c: float
) -> None:
    one = part_of(digest, Split(test=0.15, validation=v, calibration=c, near_duplicate_bits=0))
    other = part_of(digest, Split(test=0.15, validation=other_v, calibration=other_c, near_duplicate_bits=0))
    assert (one == Part.TEST) == (other == Part.TEST)


@given(digests, shares, shares, shares)
def test_validation_and_calibration_do_not_move_each_other(digest: str, v: float, c: float, other: float) -> None:
    base = part_of(digest, Split(test=0.15, validation=v, calibration=c, near_duplicate_bits=0))
    wider = part_of(digest, Split(test=0.15, validation=other, calibration=c, near_duplicate_bits=0))
    assert (base == Part.CALIBRATION) == (wider == Part.CALIBRATION)


@given(digests, st.floats(0.01, 0.2), st.floats(0.2, 0.4))
def test_a_larger_sealed_part_holds_the_smaller_one(digest: str, small: float, large: float) -> None:
    if part_of(digest, Split(test=small, validation=0.1, calibration=0.1, near_duplicate_bits=0)) == Part.TEST:
        assert part_of(digest, Split(test=large, validation=0.1, calibration=0.1, near_duplicate_bits=0)) == Part.TEST


def test_added_images_move_none_of_the_old() -> None:
    assert assign(DIGESTS[:500], NONE, SPLIT) == assign(DIGESTS, NONE, SPLIT)[:500]


@pytest.mark.parametrize("higher", RANK)
@pytest.mark.parametrize("lower", RANK)
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_near_duplicates_the_lower_gives_way(higher: Part, lower: Part, turned: bool) -> None:
    if RANK.index(higher) > RANK.index(lower):
        higher, lower = lower, higher
    by_part = {part: [d for d in DIGESTS if part_of(d, SPLIT) is part][:2] for part in RANK}
    pair = [by_part[higher][0], by_part[lower][1]]
    near = np.array([[1, 0]] if turned else [[0, 1]])
    assert assign(pair, near, SPLIT) == [higher, lower if higher is lower else Part.WITHHELD]


def test_a_chain_withholds_only_what_touches_a_higher_part() -> None:
    sealed, held_out, train = (
        next(d for d in DIGESTS if part_of(d, SPLIT) is part) for part in (Part.TEST, Part.VALIDATION, Part.TRAIN)
    )
    far = next(d for d in reversed(DIGESTS) if part_of(d, SPLIT) is Part.TRAIN)
    parts = assign([sealed, held_out, train, far], np.array([[0, 1], [1, 2], [2, 3]]), SPLIT)
    assert parts == [Part.TEST, Part.WITHHELD, Part.WITHHELD, Part.TRAIN]


@pytest.mark.parametrize(("chosen", "part"), [("labelled", Part.TRAIN), ("audited", Part.CALIBRATION)])
def test_labelled_pictures_have_their_part_from_how_they_were_chosen(chosen: str, part: Part) -> None:
    digests, random = DIGESTS[:400], np.random.default_rng(0)
    near = np.sort(random.integers(0, 400, (150, 2)), axis=1)
    near = near[near[:, 0] < near[:, 1]]
    before = assign(digests[:300], near[(near < 300).all(axis=1)], SPLIT)
    after = assign(digests, near, SPLIT, **{chosen: range(300, 400)})
    assert set(after[300:]) == {part, Part.WITHHELD}
    higher = {i for i in range(300) if RANK.index(part_of(digests[i], SPLIT)) < RANK.index(part)}
    leaking = {int(j) for i, j in near if i in higher and j >= 300}
    assert {i for i in range(300, 400) if after[i] is Part.WITHHELD} == leaking
    # of the others only those move that are near-duplicates of what is held out now
    moved = {i for i in range(300) if after[i] is not before[i]}
    lower = {int(i) for i, j in near if i < 300 <= j and RANK.index(part_of(digests[i], SPLIT)) > RANK.index(part)}
    assert moved == {i for i in lower if before[i] is not Part.WITHHELD}
    assert all(after[i] is Part.WITHHELD for i in moved)
