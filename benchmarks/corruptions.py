"""Draws ``docs/pictures/corruptions.png``: every shift at every severity, on drawn cells. Measures nothing.

Run ``python -m benchmarks corruptions`` after a change of :mod:`bloodyspy.images.corruption`.
"""

from pathlib import Path

from matplotlib.figure import Figure

from bloodyspy.cells import CellType
from bloodyspy.images.corruption import SEVERITIES, Shift, shift
from bloodyspy.images.decode import decode
from bloodyspy.images.synthetic import draw_picture

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "corruptions.png"
CELLS = (CellType.EOSINOPHIL, CellType.LYMPHOCYTE, CellType.MONOCYTE, CellType.NEUTROPHIL)


def contact_sheet() -> Figure:
    figure = Figure(figsize=(7.4, 13.4), dpi=84)
    grid = figure.subplots(len(Shift), 1 + len(SEVERITIES), gridspec_kw={"wspace": 0.04, "hspace": 0.04})
    figure.subplots_adjust(left=0.15, right=0.995, top=0.98, bottom=0.003)
    for row, kind in enumerate(Shift):
        pixels = decode(draw_picture(CELLS[row % len(CELLS)], row, 20)[1]).pixels
        for severity in (0, *SEVERITIES):
            axes = grid[row, severity]
            axes.imshow(shift(pixels, kind, severity) if severity else pixels)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if row == 0:
                axes.set_title(f"severity {severity}" if severity else "as it was", fontsize=9)
        grid[row, 0].set_ylabel(kind.replace("_", " "), fontsize=9, rotation=0, ha="right", va="center")
    return figure


def main() -> None:
    contact_sheet().savefig(PICTURE, pil_kwargs={"optimize": True})
    print(f"{PICTURE.name}: {PICTURE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
