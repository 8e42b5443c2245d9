"""The pictures of a check: the strangest cells, and by type the reference's typical ones beside the window's."""

import base64
from collections.abc import Sequence
from html import escape

from bloodyspy.cells import CELL_TYPES
from monitoring.pictures import Cell, Pictures


def gallery(pictures: Pictures) -> str:
    """The section's content."""
    strangest = ""
    if pictures.strangest:
        how = "furthest out in novelty, foreignness or lack of confidence"
        strangest = f"<h3>The strangest<small>{how}</small></h3>{_several(pictures.strangest)}"
    return f'<p class="note">{escape(pictures.note)}</p>{strangest}{_types(pictures)}'


def _types(pictures: Pictures) -> str:
    if not pictures.reference:
        return '<p class="note">The model brings no typical pictures.</p>'
    if not any(pictures.window.values()):
        rows = "".join(f"<h3>{cell}</h3>{_several(found)}" for cell, found in pictures.reference.items() if found)
        return (
            f'<details><summary>Typical cells of the reference</summary><div class="types alone">{rows}</div></details>'
        )
    there = [cell for cell in map(str, CELL_TYPES) if pictures.window.get(cell)]
    rows = "".join(
        f"<h3>{cell}</h3>{_several(pictures.reference.get(cell, ()))}{_several(pictures.window[cell])}"
        for cell in there
    )
    return f'<div class="types"><b></b><b>Reference</b><b>Window</b>{rows}</div>'


def _several(cells: Sequence[Cell]) -> str:
    return f'<div class="cells">{"".join(map(_one, cells))}</div>'


def _one(cell: Cell) -> str:
    # monitoring.pictures.withdraw finds a kept image by this attribute.
    kept = f' data-kept="{cell.kept}"' if cell.kept else ""
    words = f"<figcaption>{escape(cell.words)}</figcaption>" if cell.words else ""
    image = f"data:image/jpeg;base64,{base64.b64encode(cell.jpeg).decode()}"
    return f'<figure{kept}><img alt="{escape(cell.words) or "typical cell"}" src="{image}">{words}</figure>'
