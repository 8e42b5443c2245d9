"""``make bench-drift``: false alarms, power, label-free accuracy and cost of the drift check, on real images.

False alarms: the held-out pictures are split at random into a reference of the calibration part's size and the rest,
anew for every twenty windows, so that the reference's own chance is in the figure; thresholds are those of the
split's own reference. Windows are drawn without replacement. Everything else is the champion's own check.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.champion import champion
from benchmarks.laboratory import IMAGES, commit
from bloodyspy.evaluation.intervals import wilson
from bloodyspy.evaluation.scoring import part_of
from bloodyspy.model.artifact import NETWORK, read_digests
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.fits import read_fit
from bloodyspy.model.signatures import Signatures
from bloodyspy.model.timing import machine
from bloodyspy.promotion import ledger
from bloodyspy.settings import Settings
from monitoring.accuracy import Calibrated
from monitoring.check import read_reference
from monitoring.comparison import CASE_MIX, JUDGED, MEASURED, Comparison
from monitoring.drift import Rule, judge
from monitoring.drill import drill, observed, table
from monitoring.finding import KINDS
from monitoring.thresholds import Thresholds

SIZES, WINDOWS, SPLITS = (50, 100, 200, 500, 1_000), 2_000, 100
RATE = 0.05
DRILLED = {100: (1, 2, 3, 4, 5), 200: (3,)}
"""Rows of a window, and the severities that are tried."""
MODELLED, COLUMNS = 10_000, 20
RESULT = Path("docs/results/drift.json")

COLD = """
import time; begun = time.perf_counter()
from pathlib import Path
import pandas as pd
from bloodyspy.model.signatures import Signatures
from monitoring.drift import Rule, judge
folder = Path({artefact!r})
reference = pd.read_parquet(folder / "reference.parquet")
judge(reference, pd.read_parquet({window!r}), Rule(50, 0.001), Signatures.read(folder), thresholds=Path({kept!r}))
print(time.perf_counter() - begun)
"""


def main() -> None:
    """One after the other; what is known is kept after each."""
    s, folder = champion()
    classifier = Classifier.load(folder)
    known: dict[str, object] = {"command": "make bench-drift", "commit": commit(Path.cwd()), "machine": machine()}
    pictures = held_out(s, classifier)
    known["false_alarms"] = false_alarms(pictures, len(read_reference(classifier.artefact)))
    _keep(known)
    external = [IMAGES / "other-labs" / "bccd"]
    drills = {}
    for window, severities in DRILLED.items():
        done = drill(classifier, s, window, RATE, windows=100, pictures=300, elsewhere=external, severities=severities)
        Console(width=140).print(table(done))
        drills[str(window)] = done.model_dump()
    known["drills"] = drills
    _keep(known)
    known["accuracy"] = accuracy(classifier, pictures)
    _keep(known)
    known["cost"] = cost(classifier, pictures)
    _keep(known)


def _keep(known: dict[str, object]) -> None:
    RESULT.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def held_out(s: Settings, classifier: Classifier) -> pd.DataFrame:
    """Observations of the validation, the calibration and the sealed part, with what they are; the look is counted."""
    artefact = classifier.artefact
    sealed = ledger.for_fit(s, read_fit(s.fit(artefact.spec.candidate)), read_digests(artefact.path)[NETWORK])
    images = pd.concat([part_of(s, "validation"), part_of(s, "calibration"), sealed])
    seen = observed(classifier, [(s.data / path).read_bytes() for path in images["path"]], 2)
    return seen.assign(part=images["part"].to_numpy(), actual=images["cell_type"].to_numpy())


def false_alarms(pictures: pd.DataFrame, reference: int) -> list[dict[str, object]]:
    """Share of windows without any change that are called drifted, by size."""
    told, shown = [], Table("window", "drifted", "optics", "network", "case mix", title=f"Stated rate {RATE:.0%}")
    for size in SIZES:
        random, alarms, kinds = np.random.default_rng(size), 0, dict.fromkeys(map(str, set(KINDS.values())), 0)
        for _ in track(range(SPLITS), f"Windows of {size}"):
            order = random.permutation(len(pictures))
            comparison = Comparison(pictures.iloc[order[:reference]])
            thresholds = Thresholds.calibrate(comparison, size)
            for _ in range(WINDOWS // SPLITS):
                window = pictures.iloc[random.choice(order[reference:], size, replace=False)]
                found, limits = comparison.distances(window), thresholds.of(comparison, window, RATE)
                hit = {str(KINDS[name]) for name in JUDGED if found[name] > limits[name]}
                alarms += bool(hit)
                for kind in hit:
                    kinds[kind] += 1
        told.append({"window": size, "drifted": wilson(alarms, WINDOWS).model_dump(), "kinds": kinds})
        shares = [f"{kinds[kind] / WINDOWS:.2%}" for kind in ("optics", "network", "case mix")]
        shown.add_row(str(size), str(wilson(alarms, WINDOWS)), *shares)
    Console().print(shown)
    return told


def accuracy(classifier: Classifier, pictures: pd.DataFrame) -> dict[str, object]:
    """Label-free estimates of windows at home beside the truth, and what is said of another laboratory's."""
    random, calibrated = np.random.default_rng(0), Calibrated.of(classifier.artefact)
    home = pictures[pictures["part"] != "calibration"]
    errors, covered = [], 0
    for _ in range(WINDOWS):
        window = home.iloc[random.choice(len(home), 500, replace=False)]
        found = calibrated.estimate(window["confidence"])
        truth = float((window["predicted"] == window["actual"]).mean())
        errors.append(found.value - truth)
        covered += found.low <= truth <= found.high
    files = sorted((IMAGES / "other-labs" / "bccd").glob("*/*"))
    foreign = observed(classifier, [file.read_bytes() for file in files], 2)
    truth = float(np.mean(foreign["predicted"].to_numpy() == [file.parent.name for file in files]))
    trial = foreign.sample(200, random_state=0)
    live = trial.assign(time=pd.Timestamp.now("UTC"), model_version=1)
    folder = classifier.artefact.path
    reference, marks = read_reference(classifier.artefact), Signatures.read(folder)
    verdict = judge(reference, live, Rule(50, RATE), marks, calibrated=calibrated)
    told = {
        "window": 500,
        "windows": WINDOWS,
        "largest_error": float(np.abs(errors).max()),
        "within_two_points": float(np.mean(np.abs(errors) <= 0.02)),
        "bias": float(np.mean(errors)),
        "covered": covered / WINDOWS,
        "elsewhere": {
            "truth": truth,
            "mean_confidence": float(foreign["confidence"].mean()),
            "estimate": None if verdict.accuracy is None else verdict.accuracy.value,
            "withheld": verdict.accuracy_withheld,
        },
    }
    Console().print(told)
    return told


def cost(classifier: Classifier, pictures: pd.DataFrame) -> dict[str, object]:
    """The verdict beside Evidently's preset on one table, in turn; and a window from a cold start."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset
    random, reference = np.random.default_rng(0), read_reference(classifier.artefact)
    window = pictures.iloc[random.integers(0, len(pictures), MODELLED)]
    comparison = Comparison(reference)
    thresholds = Thresholds.calibrate(comparison, MODELLED)
    columns = [*MEASURED[: COLUMNS - 1], CASE_MIX]
    definition = DataDefinition(numerical_columns=columns[:-1], categorical_columns=[CASE_MIX])

    def ours() -> None:
        fresh = Comparison(reference)
        found, limits = fresh.distances(window), thresholds.of(fresh, window, RATE)
        assert len(found) == len(limits) == len(JUDGED)

    def theirs() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = Report([DataDriftPreset(columns=columns)]).run(
                current_data=Dataset.from_pandas(window[columns], data_definition=definition),
                reference_data=Dataset.from_pandas(reference[columns], data_definition=definition),
            )
            assert run.dict()["metrics"]

    seconds: dict[str, list[float]] = {"verdict": [], "evidently": []}
    ours()
    theirs()
    for _ in range(7):
        for name, way in (("verdict", ours), ("evidently", theirs)):
            begun = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begun)
    ratio = float(np.median(np.array(seconds["evidently"]) / np.array(seconds["verdict"])))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "window.parquet"
        pictures.head(1_000).assign(time=pd.Timestamp.now("UTC"), model_version=1).to_parquet(place)
        code = COLD.format(artefact=str(classifier.artefact.path), window=str(place), kept=f"{folder}/kept")
        cold = []
        for _ in range(2):  # nothing known of this size; then its thresholds are kept
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE)
            cold.append(time.perf_counter() - begun)
    told = {
        "rows": MODELLED,
        "columns": {"verdict": len(JUDGED), "evidently": COLUMNS},
        "median_seconds": {name: float(np.median(times)) for name, times in seconds.items()},
        "evidently_over_verdict": ratio,
        "cold_start_of_1000_seconds": {"first_of_its_size": cold[0], "then": cold[1]},
    }
    Console().print(told)
    return told


if __name__ == "__main__":
    main()
