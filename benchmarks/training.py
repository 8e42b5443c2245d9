"""``make bench-training``: the recipe beside a plain fine-tune, on real images, in one run.

The plain one is what a tutorial does: ``image_dataset_from_directory``, Adam at 1e-3, ``model.fit``; the same network
with the same weights at the same input size. Epochs of the one follow epochs of the other, each on its own clock, so
that a machine that slows down slows both, until both have had the same time. The recipe's clock includes decoding all
pictures once. Prints how long each takes to 98 % on the validation part, and where the time of the recipe goes. One run
takes about twice the time of a training. The fit stays in the project: ``dvc repro`` there goes on with it.
"""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import rmtree

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.laboratory import commit, laboratory, repro
from benchmarks.side_by_side import measure
from bloodyspy.adapters.tracking import recording
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.preparation import prepare
from bloodyspy.model import network
from bloodyspy.model.augmentation import augment
from bloodyspy.model.backend import keras, tensorflow
from bloodyspy.model.checkpoint import Epoch
from bloodyspy.model.fits import fit
from bloodyspy.model.normalization import fused
from bloodyspy.model.parts import load_parts
from bloodyspy.model.recipe import compile_for
from bloodyspy.model.targets import targets_of
from bloodyspy.model.timing import machine
from bloodyspy.params import Candidate, InputSpec, load_params
from bloodyspy.settings import Settings

NAME, GOAL = "efficientnet_lite0", 0.98
RESULT = Path("docs/results/training.json")


def main() -> None:
    """Run both to the end of the recipe's epochs."""
    s = laboratory("training", {NAME: {"base": NAME}})
    p = load_params(s.root / "params.yaml")
    candidate = p.candidate(NAME)
    spec = p.inputs[candidate.input]
    repro(s, "validate")
    plain = Plain(s, candidate, spec)
    recipe: list[dict[str, float]] = []
    clock = {"started": time.perf_counter(), "plain": 0.0}
    prepare(s, p, candidate.input)
    prepared = time.perf_counter() - clock["started"]
    pictures, _ = load_parts(s, candidate.input)
    seen = len(pictures.shuffled(candidate.batch_size, np.random.default_rng(0)))

    def after(row: Epoch) -> None:
        used = time.perf_counter() - clock["started"] - clock["plain"]
        kept = {"val_accuracy": row.val_accuracy, "step": row.step_seconds, "epoch": row.seconds}
        recipe.append({"seconds": used, "training": seen / row.images_per_second, **kept})
        while plain.seconds < used:  # as much time for the one as for the other
            clock["plain"] += plain.epoch()

    rmtree(s.state / "checkpoints", ignore_errors=True)  # or a fit that is there already would be taken
    with recording(NAME, s, p) as recorder:
        fit(NAME, s, p, recorder, after)
    total = time.perf_counter() - clock["started"] - clock["plain"]
    report(s, candidate, spec, recipe, plain, prepared, total)


class Plain:
    """A fine-tune by the book."""

    def __init__(self, s: Settings, candidate: Candidate, spec: InputSpec) -> None:
        self.rows: list[dict[str, float]] = []
        self.seconds = 0.0
        began = time.perf_counter()
        self._parts = {part: _pictures(s, part, spec.size) for part in ("train", "validation")}
        keras.utils.set_random_seed(candidate.seed)
        by_type = candidate.model_copy(update={"targets": "types"})  # a folder for each type is all it knows
        self._model = network.build(by_type, spec, s.weights)
        self._model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
        self.seconds += time.perf_counter() - began

    def epoch(self) -> float:
        """One more epoch; gives its seconds."""
        began = time.perf_counter()
        train, validation = self._parts["train"], self._parts["validation"]  # shuffled by themselves
        done = self._model.fit(train, validation_data=validation, epochs=1, shuffle=False, verbose=0)
        spent = time.perf_counter() - began
        self.seconds += spent
        self.rows.append({"seconds": self.seconds, "val_accuracy": float(done.history["val_accuracy"][0])})
        return spent


def _pictures(s: Settings, part: str, size: int) -> "tensorflow.data.Dataset":
    folder = s.state / "plain" / part
    rmtree(folder, ignore_errors=True)
    manifest = read_manifest(s.manifest)
    for row in manifest[manifest["part"] == part].itertuples():
        link = folder / str(row.path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(s.data / str(row.path))
    pictures = keras.utils.image_dataset_from_directory(folder, image_size=(size, size), batch_size=32, verbose=False)
    return pictures.map(lambda x, y: (tensorflow.cast(x, tensorflow.uint8), y)).prefetch(2)


def goal(rows: list[dict[str, float]]) -> float | None:
    """Seconds until the validation accuracy was first reached."""
    return next((row["seconds"] for row in rows if row["val_accuracy"] >= GOAL), None)


def report(
    s: Settings,
    candidate: Candidate,
    spec: InputSpec,
    recipe: list[dict[str, float]],
    plain: Plain,
    prepared: float,
    total: float,
) -> None:
    """Print and keep what was seen."""
    steps, epochs = (sum(row[key] for row in recipe) for key in ("step", "epoch"))
    training = sum(row["training"] for row in recipe)
    parts = zip(("train", "validation"), load_parts(s, candidate.input), strict=True)
    result = {
        "command": "make bench-training",
        "commit": commit(s.root),
        "machine": machine(),
        "images": {name: len(part) for name, part in parts},
        "candidate": candidate.model_dump(),
        "input": spec.model_dump(),
        "goal": GOAL,
        "recipe": {"seconds": total, "to_goal": goal(recipe), "epochs": recipe},
        "plain": {"seconds": plain.seconds, "to_goal": goal(plain.rows), "epochs": plain.rows},
        "share_of_time": {
            "forward and backward": steps / total,
            "decoding and preparing all pictures, once": prepared / total,
            "waiting for pictures": (training - steps) / total,
            "validation": (epochs - training) / total,
            "start, checkpoints, logging": 1 - (epochs + prepared) / total,
        },
        "milliseconds_per_picture": costs(s, candidate, spec),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    console = Console()
    for title, rows in (("recipe", recipe), ("plain fit", plain.rows)):
        best, reached = max(row["val_accuracy"] for row in rows), goal(rows)
        when = "never" if reached is None else f"after {reached:.0f} s"
        spent = rows[-1]["seconds"]
        console.print(f"{title}: {GOAL:.0%} on the validation part {when}; best {best:.2%} in {spent:.0f} s")
    table = Table("where the time goes", "share", title_justify="left")
    for what, share in result["share_of_time"].items():
        table.add_row(what, f"{share:.1%}")
    for what, cost in result["milliseconds_per_picture"].items():
        table.add_row(what, f"{cost:.2f} ms a picture")
    console.print(table)


def costs(s: Settings, candidate: Candidate, spec: InputSpec) -> dict[str, float]:
    """Wall milliseconds of the parts, side by side: augmentation, and a step with and without the fused kernel."""
    training, _ = load_parts(s, candidate.input)
    size = candidate.batch_size
    fields, chosen = next(training.batches(size, np.arange(size)))
    targets = targets_of(candidate.targets, training.labels[chosen], training.subtypes[chosen])
    weights = np.ones(size, np.float32)
    pictures = augment(fields, spec.size, "none", np.random.default_rng(0))
    plain = network.build(candidate, spec, s.weights)
    ways: dict[str, Callable[[], object]] = {
        "augmentation": lambda: augment(fields, spec.size, candidate.augmentation, np.random.default_rng(0))
    }
    for name, model in (("step, normalisation fused", fused(plain)), ("step, as Keras has it", plain)):
        learner = network.taught(model)
        compile_for(learner, candidate, 100)
        ways[name] = partial(learner.train_on_batch, pictures, targets, sample_weight=weights)
    return measure(ways, per=size)
