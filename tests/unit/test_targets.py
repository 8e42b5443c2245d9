"""What is taught: types or sub-types, and how the one sums up to the other."""

import numpy as np
import pytest

from bloodyspy.cells import CELL_TYPES, SUBTYPES, SUBTYPES_OF, CellType
from bloodyspy.model.parts import weights_of
from bloodyspy.model.targets import membership, targets_of

NAMES = [name for cell in CELL_TYPES for name in SUBTYPES_OF.get(cell, (str(cell),))]


def test_each_target_belongs_to_one_type_and_each_type_has_one() -> None:
    np.testing.assert_array_equal(membership("types"), np.eye(8))
    assert membership("subtypes").sum(axis=1).tolist() == [1] * 11
    assert membership("subtypes").sum(axis=0).tolist() == [1, 1, 1, 3, 1, 1, 2, 1]
    assert {*NAMES, "ig (unspecified)", "neutrophil (unspecified)"} == set(SUBTYPES.values())


@pytest.mark.parametrize(
    ("cell", "subtype", "expected"),
    [
        (CellType.NEUTROPHIL, "band neutrophil", {"band neutrophil": 1.0}),
        (CellType.IG, "promyelocyte", {"promyelocyte": 1.0}),
        (CellType.PLATELET, "platelet", {"platelet": 1.0}),
        (CellType.MONOCYTE, None, {"monocyte": 1.0}),
        (CellType.NEUTROPHIL, "neutrophil (unspecified)", {"band neutrophil": 0.5, "segmented neutrophil": 0.5}),
        (CellType.IG, None, dict.fromkeys(("metamyelocyte", "myelocyte", "promyelocyte"), 1 / 3)),
        # A folder corrected by hand: the type is what counts, the old file name is not.
        (CellType.NEUTROPHIL, "metamyelocyte", {"band neutrophil": 0.5, "segmented neutrophil": 0.5}),
    ],
)
def test_a_picture_is_taught_as_far_as_its_source_tells(
    cell: CellType, subtype: str | None, expected: dict[str, float]
) -> None:
    (row,) = targets_of("subtypes", np.array([cell.position]), [subtype])
    assert dict(zip(NAMES, row, strict=True)) == pytest.approx({**dict.fromkeys(NAMES, 0.0), **expected})
    assert (row @ membership("subtypes")).tolist() == pytest.approx(np.eye(8)[cell.position].tolist())


def test_where_types_are_taught_sub_types_do_not_matter() -> None:
    labels = np.array([cell.position for cell in (CellType.IG, CellType.BASOPHIL)])
    np.testing.assert_array_equal(targets_of("types", labels, ["myelocyte", None]), np.eye(8)[labels])


def test_all_targets_count_alike_but_none_more_than_tenfold() -> None:
    labels = np.repeat([CellType.NEUTROPHIL.position, CellType.MONOCYTE.position], [40, 10])
    subtypes = ["band neutrophil"] * 30 + ["segmented neutrophil"] * 10 + [None] * 10
    targets = targets_of("subtypes", labels, subtypes)
    present = {"band neutrophil", "segmented neutrophil", "monocyte"}
    assert weights_of(targets) @ targets == pytest.approx([50 / 11 if name in present else 0 for name in NAMES])
    one_of_many = targets_of("types", np.repeat([0, 1], [1, 999]), [None] * 1000)
    assert weights_of(one_of_many)[[0, -1]].tolist() == pytest.approx([10, 1000 / 8 / 999])


def test_a_picture_of_no_told_sub_type_weighs_what_those_of_its_type_weigh_on_average() -> None:
    labels = np.repeat(CellType.NEUTROPHIL.position, 45)
    subtypes = ["band neutrophil"] * 30 + ["segmented neutrophil"] * 10 + ["neutrophil (unspecified)"] * 5
    weights = weights_of(targets_of("subtypes", labels, subtypes))
    assert weights[0] < weights[-1] < weights[30]
    assert weights[-1] == pytest.approx((weights[0] + weights[30]) / 2)
