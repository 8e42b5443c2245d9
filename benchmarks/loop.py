"""``make bench-loop``: the story of the loop on real images (:mod:`benchmarks.story`), kept in docs/results/loop.json.

``SIZE=small`` plays it with fewer pictures, as the end-to-end test does. The picture beside it shows the traffic in
stretches of half a window: how many answers are right, and how far the pictures are from the reference of the version
that answers.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
from rich.console import Console

from benchmarks.laboratory import cloned, commit, committed, real_images
from benchmarks.story import FULL, KIND, SEVERITY, SMALL, Story, Stretch
from bloodyspy.evaluation.intervals import Estimate
from bloodyspy.model.timing import machine

RESULT, PICTURE = Path("docs/results/loop.json"), Path("docs/pictures/loop-story.png")
SIZES = {"full": FULL, "small": SMALL}


def main() -> None:
    """Play it, and keep what came of it."""
    name = os.environ.get("SIZE", "full")
    size = SIZES[name]
    images = real_images() / "pbc"
    committed(Path.cwd())
    root = Path("var/benchmarks/loop").resolve()
    shutil.rmtree(root, ignore_errors=True)  # a second telling begins without a champion
    story = Story(cloned(root), images, size)
    story.play()
    result = {
        "command": f"make bench-loop SIZE={name}",
        "commit": commit(Path.cwd()),
        "machine": machine(),
        "imported": len(story.imported),
        "shift": f"{KIND}, severity {SEVERITY}",
        "size": asdict(size),
        "chapters": [asdict(chapter) for chapter in story.chapters],
        "traffic": [asdict(stretch) for stretch in story.stretches],
    }
    draw(story.stretches, PICTURE)
    RESULT.write_text(json.dumps(result, indent=1, default=_plain) + "\n", encoding="utf-8")
    Console().print(f"{sum(chapter.seconds for chapter in story.chapters):.0f} s. {RESULT} has it all.")


def draw(stretches: Sequence[Stretch], place: Path) -> None:
    """Accuracy with its intervals above, the drift check's largest distance below, over the course of the traffic."""
    figure, (upper, lower) = plt.subplots(2, 1, sharex=True, figsize=(9, 5.2), layout="constrained")
    start, ticks = 0, []
    for stretch in stretches:
        middle, start = start + stretch.pictures / 2, start + stretch.pictures
        colour, right = f"C{stretch.version - 1}", stretch.right
        reach = [[right.value - right.low], [right.high - right.value]]
        upper.errorbar(middle, right.value, yerr=reach, fmt="o", color=colour)
        lower.plot(middle, stretch.distance, "o", color=colour)
        ticks.append((stretch.what, start))
    for axes in (upper, lower):
        for (what, end), (following, _) in pairwise(ticks):
            if what != following:
                axes.axvline(end, color="0.8", linewidth=1)
    for what in dict.fromkeys(what for what, _ in ticks):
        ends = [end for name, end in ticks if name == what]
        begin = max((end for _, end in ticks if end < ends[0]), default=0)
        version = next(one.version for one in stretches if one.what == what)
        upper.text((begin + ends[-1]) / 2, 1.04, f"{what}\nversion {version}", ha="center", va="bottom", fontsize=9)
    lower.axhline(1, color="0.4", linestyle="--", linewidth=1)
    lower.set(ylim=(0, None), ylabel="distance / threshold", xlabel="pictures answered")
    upper.set(ylim=(0, 1.02), ylabel="right answers")
    figure.savefig(place, dpi=110)
    plt.close(figure)


def _plain(value: object) -> object:
    if isinstance(value, Estimate):
        return value.model_dump()
    raise TypeError(type(value))
