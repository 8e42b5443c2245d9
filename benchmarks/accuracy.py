"""``make bench-accuracy``: the best candidate on real images: five seeds, a learning curve, what each choice is worth.

Each is a candidate of a project of its own that runs the real stages, so what is measured is what the platform trains,
seals and describes. The choices of the recipe are compared on the validation part alone: the sealed part decides
nothing. Interrupted, the same command goes on; what is finished is not repeated. ONLY="name name" in the environment
trains these alone.
"""

import json
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.laboratory import Changes, commit, laboratory, repro
from bloodyspy.cells import CellType
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.evaluation.comparison import read_scores
from bloodyspy.evaluation.intervals import wilson
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.fits import Fit, read_fit
from bloodyspy.model.timing import machine
from bloodyspy.settings import Settings

BASE, SEEDS, EXTERNAL = "efficientnet_lite0", int(os.environ.get("SEEDS", "5")), ("bccd",)
ONLY = os.environ.get("ONLY", "").split()
SHARES = {"tenth": 0.10, "quarter": 0.25, "half": 0.50}
CANDIDATES: dict[str, Changes] = {
    BASE: {"seeds": SEEDS} if SEEDS > 1 else {},  # one is what a candidate has unless told
    "without_augmentation": {"augmentation": "none"},
    **{f"{name}_of_the_images": {"training_share": share} for name, share in SHARES.items()},
    "quarter_without_augmentation": {"training_share": SHARES["quarter"], "augmentation": "none"},
}
INPUTS = {"whole128": {"size": 128}, "centre96": {"size": 96, "resize": 128}}
# On a quarter of the images, to take a quarter of the time; they are compared with the candidate of that share.
WHOLE = "quarter_of_the_images"
ABLATIONS: dict[str, Changes] = {
    name: {**CANDIDATES[WHOLE], **changes}
    for name, changes in {
        "positions_only": {"augmentation": "positions"},
        "types_only": {"targets": "types"},
        "not_averaged": {"weight_averaging": 0.0},
        "not_smoothed": {"label_smoothing": 0.0},
        "whole_field": {"input": "whole128"},
        "smaller_input": {"input": "centre96"},
        "low_rate": {"learning_rate": 0.0004},
        "lite1_at_96": {"network": "efficientnet_lite1", "input": "centre96"},
        "lite2_at_96": {"network": "efficientnet_lite2", "input": "centre96"},
    }.items()
}
RESULT = Path("docs/results/accuracy.json")


def main() -> None:
    """Train and evaluate one after the other, most important first; keep and print what is known after each."""
    declared = {name: {"base": BASE, **changes} for name, changes in (CANDIDATES | ABLATIONS).items()}
    s = laboratory("accuracy", declared, EXTERNAL, INPUTS)
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    known["command"] = "make bench-accuracy"
    for name in (one for one in CANDIDATES if one in (ONLY or CANDIDATES)):
        repro(s, f"evaluate@{name}")
        numbers = _numbers(Artefact.open(s.artefact(name)), read_fit(s.fit(name)), s)
        _keep(known, "candidates", name, numbers)
        _show(known["candidates"])
    for name in (one for one in ABLATIONS if one in (ONLY or ABLATIONS)):
        repro(s, f"train@{name}")
        _keep(known, "ablations", name, {"changes": ABLATIONS[name], **_trained(read_fit(s.fit(name)), s)})
        _show_ablations(known["ablations"], read_fit(s.fit(WHOLE)))


def _keep(known: dict[str, dict], group: str, name: str, numbers: dict[str, object]) -> None:
    known.setdefault(group, {})[name] = numbers
    RESULT.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def _trained(fit: Fit, s: Settings) -> dict[str, object]:
    manifest = read_manifest(s.manifest)
    images = int((manifest["part"] == "validation").sum())
    kept = fit.kept
    right = round(kept.val_accuracy * images)
    return {
        "commit": commit(s.root),
        "machine": machine(),
        "minutes": round(kept.seconds / 60, 2),
        "validation": {
            "images": images,
            "loss": kept.val_loss,
            "accuracy": wilson(right, images).model_dump(),
            "balanced_accuracy": kept.val_balanced_accuracy,
        },
    }


def _numbers(artefact: Artefact, fit: Fit, s: Settings) -> dict[str, object]:
    scores = read_scores(artefact)
    seeds = None if scores.seeds is None else scores.seeds.model_dump()
    return {
        "commit": commit(s.root),
        "machine": machine(),
        "test_digest": scores.test_digest,
        "manifest_digest": artefact.spec.manifest_digest,
        "minutes": [round(one.seconds / 60, 2) for one in fit.seeds],
        "epochs": [one.epochs for one in fit.seeds],
        "served": f"{artefact.spec.precision} in {artefact.spec.runtime}",
        "seeds": seeds,
        "test": _test(scores),
        "stress": {
            "images": scores.stress.images,
            "clean": scores.stress.clean.model_dump(),
            "mean_balanced_error": scores.stress.mean_balanced_error.model_dump(),
        },
        "external": {one.name: one.metrics.flat() for one in scores.external},
    }


def _test(scores: Scores) -> dict[str, object]:
    after, before = scores.calibration.test_after, scores.calibration.test_before
    return {
        "images": scores.test.n,
        "accuracy": scores.test.accuracy.model_dump(),
        "balanced_accuracy": scores.test.balanced_accuracy.model_dump(),
        "macro_f1": scores.test.macro_f1.model_dump(),
        "ig_sensitivity": scores.test.sensitivity[CellType.IG].model_dump(),
        "ece": after.ece,
        "ece_before": before.ece,
        "temperature": scores.calibration.temperature,
    }


def _show(known: dict[str, dict]) -> None:
    table = Table(
        "candidate", "accuracy", "balanced", "ig", "calibration error", "stress", "minutes", title="Test part"
    )
    for name, one in known.items():
        test, stress = one["test"], one["stress"]["mean_balanced_error"]
        table.add_row(
            name,
            *(f"{test[key]['value']:.2%}" for key in ("accuracy", "balanced_accuracy", "ig_sensitivity")),
            f"{test['ece']:.2%}",
            f"{stress['value']:.1%}",
            f"{sum(one['minutes']):.1f}",
        )
        if one["seeds"]:
            mean, spread = one["seeds"]["mean"], one["seeds"]["standard_deviation"]
            names = ("test_accuracy", "test_balanced_accuracy", "test_ig_sensitivity", "test_ece")
            table.add_row("  mean of seeds ± sd", *(f"{mean[key]:.2%} ± {spread[key]:.2%}" for key in names), "", "")
    Console().print(table)


def _show_ablations(known: dict[str, dict], base: Fit) -> None:
    table = Table("change", "loss", "accuracy", "balanced", "minutes", title="Validation part")
    for one in base.seeds:
        numbers = (f"{one.val_loss:.4f}", f"{one.val_accuracy:.2%}", f"{one.val_balanced_accuracy:.2%}")
        table.add_row(f"none, seed {one.seed}", *numbers, f"{one.seconds / 60:.1f}")
    for name, one in known.items():
        found = one["validation"]
        numbers = (f"{found['loss']:.4f}", f"{found['accuracy']['value']:.2%}", f"{found['balanced_accuracy']:.2%}")
        table.add_row(name, *numbers, f"{one['minutes']:.1f}")
    Console().print(table)
