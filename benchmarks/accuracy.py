"""``make bench-accuracy``: the best candidate on real images: five seeds, a learning curve, and without augmentation.

Each is a candidate of a project of its own that runs the real stages, so what is measured is what the platform trains,
seals and describes. Interrupted, the same command goes on; what is finished is not repeated.
"""

import json
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.laboratory import commit, laboratory, repro
from bloodyspy.cells import CellType
from bloodyspy.evaluation.comparison import read_scores
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.fits import Fit, read_fit
from bloodyspy.model.timing import machine
from bloodyspy.settings import Settings

BASE, SEEDS, EXTERNAL = "efficientnet_lite0", int(os.environ.get("SEEDS", "5")), ("bccd",)
SHARES = {"tenth": 0.10, "quarter": 0.25, "half": 0.50}
RESULT = Path("docs/results/accuracy.json")


def main() -> None:
    """Train and evaluate one after the other, most important first; keep and print what is known after each."""
    candidates: dict[str, dict[str, object]] = {
        BASE: {"base": BASE, "seeds": SEEDS},
        "without_augmentation": {"base": BASE, "augmentation": "none"},
        **{f"{name}_of_the_images": {"base": BASE, "training_share": share} for name, share in SHARES.items()},
    }
    s = laboratory("accuracy", candidates, EXTERNAL)
    known = json.loads(RESULT.read_text(encoding="utf-8"))["candidates"] if RESULT.exists() else {}
    for name in candidates:
        repro(s, f"evaluate@{name}")
        known[name] = _numbers(Artefact.open(s.artefact(name)), read_fit(s.fit(name)), s)
        kept = {"command": "make bench-accuracy", "machine": machine(), "candidates": known}
        RESULT.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        _show(known)


def _numbers(artefact: Artefact, fit: Fit, s: Settings) -> dict[str, object]:
    scores = read_scores(artefact)
    seeds = None if scores.seeds is None else scores.seeds.model_dump()
    return {
        "commit": commit(s.root),
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
