"""The pictures on the page of a check: typical cells of the reference, typical and strange ones of the window.

The window's come from the images that the service has kept, and are on a page no longer than those are kept: the page's
folder lists whose they are (``pictures.json``), and :func:`withdraw` takes out what was erased or has expired. Images
that are enciphered where they are kept are written into no page.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy import whole_file
from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import ImageError, KeepingError, MonitoringError
from bloodyspy.images.decode import decode
from bloodyspy.images.small import small
from bloodyspy.kept import Store
from bloodyspy.model.artifact import TYPICAL as TYPICAL_CELLS
from bloodyspy.model.artifact import Artefact
from bloodyspy.settings import Settings
from monitoring.history import PAGE

logger = logging.getLogger(__name__)

LIST = "pictures.json"
"""SHA-256 of the kept images that a page shows; not there where it shows none."""

STRANGEST, TYPICAL = 8, 4
"""Pictures of the window: altogether, and of each type."""

_FIGURE = re.compile(r'<figure data-kept="([0-9a-f]{64})">.*?</figure>', re.DOTALL)
_SWITCH = "Set BLOODYSPY_KEEP_IMAGES=review or all for the service, and the next checks show cells of theirs here."


@dataclass(frozen=True, slots=True)
class Cell:
    """One small picture."""

    jpeg: bytes
    words: str
    """What stands below it."""
    kept: str = ""
    """SHA-256 of the kept image; empty for one of the reference."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """All that a page shows."""

    reference: Mapping[str, tuple[Cell, ...]] = field(default_factory=dict)
    """Typical cells by type."""
    window: Mapping[str, tuple[Cell, ...]] = field(default_factory=dict)
    """Likewise, by the type that was answered."""
    strangest: tuple[Cell, ...] = ()
    """The strangest first."""
    note: str = ""
    """How many of the window's are kept; or why none of them is shown, and what to do for it."""

    @property
    def kept(self) -> list[str]:
        """SHA-256 of each kept image among them."""
        cells = [*self.strangest, *(cell for several in self.window.values() for cell in several)]
        return sorted({cell.kept for cell in cells})


@dataclass(frozen=True, slots=True)
class Album:
    """Where pictures come from."""

    typical: Path | None
    """Typical cells of an artefact (:mod:`bloodyspy.evaluation.typical`)."""
    kept: Store | None
    """Where the service keeps images, opened without a key."""


NONE = Album(None, None)
"""No pictures at all."""


def album(artefact: Artefact, s: Settings) -> Album:
    """Of the model that is checked, and of this project's service."""
    return Album(artefact.path / TYPICAL_CELLS, Store(s.kept_images))


def choose(reference: pd.DataFrame, current: pd.DataFrame, album: Album) -> Pictures:
    """Choose what to show.

    Args:
        reference, current: the frames of the check.
        album: where from.
    """
    at_home, kept = _at_home(album.typical), album.kept
    try:
        found = kept.find(current["request_id"].unique()) if kept and len(current) else {}
    except KeepingError as exc:
        return Pictures(at_home, note=f"The window's pictures cannot be shown: {exc}")
    if kept is None or not found:
        return Pictures(at_home, note=f"No picture of this window is kept. {_SWITCH}")
    if any(kept.enciphered(digest) for digest in found.values()):
        words = "The kept pictures are enciphered, so none is written here. Look at them on the page of the bench."
        return Pictures(at_home, note=words)
    keys = zip(current["request_id"].astype(str), current["picture"].astype(int), strict=True)
    digests = np.array([found.get(key, "") for key in keys])
    strange = strangeness(reference, current)
    order = [row for row in np.argsort(-strange, kind="stable") if digests[row]]
    once = dict(zip((digests[row] for row in reversed(order)), reversed(order), strict=True))  # the same picture, once
    order = [row for row in order if once[digests[row]] == row]
    strangest, used = _cells(order, STRANGEST, current, digests, kept, _strange)
    predicted = current["predicted"].to_numpy(str)
    window: dict[str, tuple[Cell, ...]] = {}
    for cell in map(str, CELL_TYPES):
        middle = np.median(strange[predicted == cell]) if (predicted == cell).any() else 0.0
        rest = [row for row in order if predicted[row] == cell and row not in used]
        rest.sort(key=np.abs(strange - middle).__getitem__)
        window[cell], _ = _cells(rest, TYPICAL, current, digests, kept, _sure)
    there = int((digests != "").sum())
    some = "" if there == len(current) else " What looks typical here is so among those that are kept."
    return Pictures(
        at_home, window, strangest, f"{there} of the {len(current)} pictures of this window are kept.{some}"
    )


def strangeness(reference: pd.DataFrame, current: pd.DataFrame) -> NDArray[np.float64]:
    """How far each row is out in novelty, foreignness or lack of confidence, in the reference's spreads; the furthest.

    A spread is the distance of the quartiles over 1.349, which is a normal distribution's standard deviation.
    """
    measured = []
    for name, sign in (("novelty", 1), ("foreignness", 1), ("confidence", -1)):
        low, middle, high = np.nanquantile(reference[name].to_numpy(np.float64), (0.25, 0.5, 0.75))
        measured.append(sign * (current[name].to_numpy(np.float64) - middle) / max((high - low) / 1.349, 1e-6))
    return np.nan_to_num(np.max(measured, axis=0), nan=-np.inf)


def _at_home(typical: Path | None) -> dict[str, tuple[Cell, ...]]:
    if typical is None or not typical.exists():
        return {}
    frame = pd.read_parquet(typical)
    return {
        str(cell): tuple(Cell(bytes(jpeg), "") for jpeg in frame.loc[frame["cell_type"] == str(cell), "jpeg"])
        for cell in CELL_TYPES
    }


def _strange(observed: pd.Series) -> str:
    return f"{observed['predicted']} {observed['confidence']:.0%}, novelty {observed['novelty']:.2f}"


def _sure(observed: pd.Series) -> str:
    return f"{observed['confidence']:.0%}"


def _cells(
    rows: Sequence[int],
    most: int,
    current: pd.DataFrame,
    digests: NDArray[np.str_],
    kept: Store,
    words: Callable[[pd.Series], str],
) -> tuple[tuple[Cell, ...], set[int]]:
    cells: list[Cell] = []
    used: set[int] = set()
    for row in rows:
        if len(cells) == most:
            break
        digest, observed = str(digests[row]), current.iloc[row]
        try:
            jpeg = small(decode(kept.read(digest)).pixels)
        except (KeepingError, ImageError) as exc:
            logger.info("A kept picture is left out of the page: %s", exc)  # gone meanwhile, or damaged
            continue
        cells.append(Cell(jpeg, words(observed), digest))
        used.add(int(row))
    return tuple(cells), used


def write_list(pictures: Pictures, folder: Path) -> None:
    """Beside the page, whose pictures it shows."""
    if pictures.kept:
        (folder / LIST).write_text(json.dumps(pictures.kept) + "\n", encoding="utf-8")


def withdraw(history: Path, kept: Store) -> int:
    """Take out of the pages what is no longer kept; the number of pictures taken out is returned.

    Killed half-way, the same call goes on: a page is exchanged before its list.

    Raises:
        MonitoringError: of some page they could not be taken out; of all others they were.
    """
    taken, faults = 0, []
    for listed in sorted(history.glob(f"[!.]*/{LIST}")):
        try:
            taken += _take_out(listed, kept)
        except (OSError, ValueError) as exc:
            faults.append(f"{listed.parent}: {exc}")
    if faults:
        raise MonitoringError(
            f"Pictures that are kept no longer are still in pages; delete these: {'; '.join(faults)}."
        )
    return taken


def _take_out(listed: Path, kept: Store) -> int:
    shown = set(json.loads(listed.read_text(encoding="utf-8")))
    gone = {digest for digest in shown if not kept.holds(digest)}
    if not gone:
        return 0

    def without(figure: re.Match[str]) -> str:
        return "" if figure[1] in gone else figure[0]

    page = listed.with_name(PAGE)
    _exchange(page, _FIGURE.sub(without, page.read_text(encoding="utf-8")))
    if rest := sorted(shown - gone):
        _exchange(listed, json.dumps(rest) + "\n")
    else:
        listed.unlink()
    return len(gone)


def _exchange(file: Path, text: str) -> None:
    whole_file.replace(file, text.encode(), mode=file.stat().st_mode & 0o777)
