"""The eight cell types, their order, and how folders and file names of the PBC data set spell them."""

from enum import StrEnum
from typing import Final, Literal


class CellType(StrEnum):
    """A class of the classifier. The order of declaration is the order of every probability vector."""

    BASOPHIL = "basophil"
    EOSINOPHIL = "eosinophil"
    ERYTHROBLAST = "erythroblast"
    IG = "ig"
    LYMPHOCYTE = "lymphocyte"
    MONOCYTE = "monocyte"
    NEUTROPHIL = "neutrophil"
    PLATELET = "platelet"

    @property
    def position(self) -> int:
        """Position in a probability vector, 0 to 7."""
        return CELL_TYPES.index(self)

    @property
    def spelled_out(self) -> str:
        """The name as the original BloodySpy wrote it in its answers."""
        return "immature granulocyte" if self is CellType.IG else self.value


CELL_TYPES: tuple[CellType, ...] = tuple(CellType)

NO_CELL: Final = "no_cell"
Label = CellType | Literal["no_cell"]
"""What a person says a picture shows; ``no_cell``: none of the eight types, or nothing that can be named."""

# Prefix of a PBC file name -> sub-type. Blood smears are read to this depth; the classifier is not.
SUBTYPES: dict[str, str] = {
    "BA": "basophil",
    "EO": "eosinophil",
    "ERB": "erythroblast",
    "IG": "ig (unspecified)",
    "MMY": "metamyelocyte",
    "MY": "myelocyte",
    "PMY": "promyelocyte",
    "LY": "lymphocyte",
    "MO": "monocyte",
    "NEUTROPHIL": "neutrophil (unspecified)",
    "BNE": "band neutrophil",
    "SNE": "segmented neutrophil",
    "PLATELET": "platelet",
}

# Types that are several to who reads the smear. The unspecified ones are pictures whose source stopped at the type.
SUBTYPES_OF: dict[CellType, tuple[str, ...]] = {
    CellType.IG: ("metamyelocyte", "myelocyte", "promyelocyte"),
    CellType.NEUTROPHIL: ("band neutrophil", "segmented neutrophil"),
}


def subtype_of(file_name: str) -> str | None:
    """Sub-type told by a PBC file name such as ``BNE_191112.jpg``; None where the name follows no such pattern."""
    return SUBTYPES.get(file_name.split("_", 1)[0].upper())


def cell_type_of_folder(folder_name: str) -> CellType | None:
    """Cell type that a class folder's name means; None where it means none.

    Case, plural, spaces, hyphens and underscores do not matter; ``immature granulocytes`` is ``ig``.
    """
    word = folder_name.strip().lower().replace("_", " ").replace("-", " ")
    if word in ("immature granulocyte", "immature granulocytes", "igs"):
        return CellType.IG
    singular = word.removesuffix("s")
    return CellType(singular) if singular in CELL_TYPES else None
