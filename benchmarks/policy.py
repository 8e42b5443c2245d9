"""``make bench-policy``: what the answer policy lets out unseen, at home, elsewhere, and of pictures that show no cell.

Home and the laboratories with labels are taken from the model's own scores, so no sealed image is looked at again.
Uploads from the web have no labels: of them it is told how many are held back. The pictures without a cell are drawn,
and cut at any size from the photographs that scikit-image and scikit-learn ship.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.champion import champion
from benchmarks.laboratory import IMAGES
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.errors import ImageError
from bloodyspy.evaluation.comparison import read_scores
from bloodyspy.evaluation.intervals import wilson
from bloodyspy.images import no_cells
from bloodyspy.images.preprocess import to_array
from bloodyspy.images.statistics import describe
from bloodyspy.model.artifact import Artefact, sha256
from bloodyspy.model.classifier import Classifier
from bloodyspy.policy import Action

RESULT = Path("docs/results/policy.json")
DRAWN, PHOTOGRAPHED = 400, 600

Pixels = NDArray[np.uint8]


def main() -> None:
    """Measure, print and keep."""
    settings, folder = champion()
    artefact = Artefact.open(folder)
    scores, classifier = read_scores(artefact), Classifier(artefact, settings.threads)
    at_home = set(read_manifest(settings.manifest)["sha256"])
    web = [path for path in sorted((IMAGES / "other-labs" / "web").iterdir()) if sha256(path) not in at_home]
    drawn = (pixels for _, pixels in no_cells.draw(DRAWN, seed=1))
    result = {
        "command": "make bench-policy",
        "run_id": artefact.spec.run_id,
        "policy": classifier.policy.model_dump(mode="json"),
        "home": scores.answers.model_dump(mode="json"),
        "external": {one.name: one.answers.model_dump(mode="json") for one in scores.external},
        "unlabelled": {
            "web": _actions(_of_files(classifier, web)),
            "drawn": _actions(_of_pixels(classifier, drawn)),
            "photographs": _actions(_of_pixels(classifier, photographs(PHOTOGRAPHED))),
        },
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(result)


def photographs(count: int) -> Iterator[Pixels]:
    """Square cuts of a quarter of a photograph to all of it, at the size of a picture at home."""
    places = [
        Path(str(files(package))) / folder for package, folder in (("skimage", "data"), ("sklearn.datasets", "images"))
    ]
    found = sorted(path for place in places for path in place.iterdir() if path.suffix in (".png", ".jpg"))
    rng = np.random.default_rng(0)
    for number in range(count):
        with Image.open(found[number % len(found)]) as opened:
            image = opened.convert("RGB")
        side = int(rng.integers(min(image.size) // 4, min(image.size) + 1))
        left, top = (int(rng.integers(0, length - side + 1)) for length in image.size)
        cut = image.resize((no_cells.SIDE, no_cells.SIDE), box=(left, top, left + side, top + side))
        yield np.asarray(cut)


def _of_files(classifier: Classifier, paths: Iterable[Path]) -> Iterator[Action]:
    for path in paths:
        try:
            yield classifier.observe(path.read_bytes()).verdict.action
        except ImageError:
            continue  # the service refuses it before it asks the model


def _of_pixels(classifier: Classifier, pictures: Iterable[Pixels]) -> Iterator[Action]:
    for pixels in pictures:
        (seen,) = classifier.observed([describe(pixels)], to_array(pixels, classifier.spec.input)[None])
        yield seen.verdict.action


def _actions(found: Iterable[Action]) -> dict[str, object]:
    counts = Counter(found)
    return {
        "images": counts.total(),
        **{action: wilson(counts[action], counts.total()).model_dump() for action in Action},
    }


def show(result: dict[str, dict]) -> None:
    table = Table("pictures", "images", *Action, "right, of auto", "right, or not auto", title="The answer policy")
    for name, one in {"home, sealed": result["home"], **result["external"]}.items():
        shares = (one[key] for key in (*Action, "right", "harmless"))
        table.add_row(name, str(one["images"]), *map(_share, shares))
    for name, one in result["unlabelled"].items():
        table.add_row(name, str(one["images"]), *(_share(one[action]) for action in Action), "", "")
    Console(width=150).print(table)


def _share(estimate: dict[str, float] | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate['value']:.1%} ({estimate['low']:.1%} to {estimate['high']:.1%})"
