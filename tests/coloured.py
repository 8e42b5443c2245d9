"""A project whose cells are plain colours, and models that know them well or less well: promotions without training."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import yaml
from handmade import make_artefact, write_golden
from onnx import numpy_helper
from PIL import Image

from bloodyspy.adapters import registry
from bloodyspy.adapters.evaluation_log import log_evaluation
from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.manifest import COLUMNS, digest, write_manifest
from bloodyspy.dataset.version import DatasetInfo, SourceInfo
from bloodyspy.evaluation.comparison import compare
from bloodyspy.images.statistics import STATISTICS
from bloodyspy.model import artifact
from bloodyspy.model.artifact import Artefact
from bloodyspy.params import load_params
from bloodyspy.settings import Settings

# Colour of each type's pictures, and of a few odd basophils: red with a little green; the middling model misreads them.
_COLOURS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1), (1, 0.5, 0)]
_ODD = (1, 0.2, 0)
_LEARNED = {
    "good": {0: (1, 0.1, 0)},
    "middling": {7: (1, 0.35, 0)},  # takes the odd basophils for platelets
    "bad": {2: (0, 1, 0), 1: (0, 0, 1)},  # takes erythroblasts for eosinophils and the other way round
}
EACH, ODD = 20, 3


def lay_out(s: Settings) -> None:
    """One candidate in params.yaml, 20 pictures a type on the sealed part, and a few on the validation part."""
    place = s.root / "params.yaml"
    content = yaml.safe_load(place.read_text())
    content["candidates"] = {"small_cnn": content["candidates"]["small_cnn"]}
    content["tuning"] = {}
    # so few pictures speak only of wide margins
    content["promotion"]["margins"] = {"balanced_accuracy": 0.01, "sensitivity": {"ig": 0.3, "erythroblast": 0.3}}
    content["promotion"]["limits"]["calibration_error"] = 1.0  # nobody calibrated these models
    content["evaluation"]["stress_per_class"] = 2
    place.write_text(yaml.safe_dump(content))
    rows = []
    for cell in CELL_TYPES:
        folder = s.data / cell
        folder.mkdir(parents=True)
        for number in range(EACH + 4):
            odd = cell.position == 0 and number < ODD
            picture = folder / f"{number}.png"
            Image.fromarray(_picture(_ODD if odd else _COLOURS[cell.position], number)).save(picture)
            rows.append(
                dict.fromkeys(COLUMNS, "")
                | dict.fromkeys(STATISTICS, 1)
                | {
                    "path": f"{cell}/{number}.png",
                    "cell_type": str(cell),
                    "sha256": hashlib.sha256(picture.read_bytes()).hexdigest(),
                    "bytes": picture.stat().st_size,
                    "part": "test" if number < EACH else "validation",
                }
            )
    write_manifest(pd.DataFrame(rows).sort_values("path", ignore_index=True), s.manifest)
    source = SourceInfo(name="colours", images=len(rows), taken=len(rows), quarantined=0)
    info = DatasetInfo(synthetic=True, sources=(source,))
    (s.data / "dataset.json").write_text(info.model_dump_json())


def candidate(s: Settings, quality: str, **origin: str) -> Artefact:
    """Make the candidate small_cnn a model of that quality: evaluated, logged on a run of its own, compared.

    ``origin`` may name the git commit and the data version that it is made of, as `make_artefact` takes them.
    """
    place, p = s.artefact("small_cnn"), load_params(s.root / "params.yaml")
    shutil.rmtree(place, ignore_errors=True)
    drafted = make_artefact(place, _run(s), manifest_digest=digest(s.manifest), **origin)
    directions = np.array([_LEARNED[quality].get(index, colour) for index, colour in enumerate(_COLOURS)])
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    model = onnx.load(place / artifact.GRAPH)
    weights = numpy_helper.from_array((0.2 * directions.T).astype(np.float32), "weights")
    model.graph.initializer[0].CopyFrom(weights)
    onnx.save(model, place / artifact.GRAPH)
    write_golden(place, drafted.spec)
    made = artifact.seal(place)
    log_evaluation(made, s, p)
    compare(s, p)
    return made


def _picture(colour: tuple[float, float, float], seed: int) -> np.ndarray:
    value = 220 * np.array(colour) / np.linalg.norm(colour)
    noise = np.random.default_rng(seed).integers(-3, 4, size=(70, 64, 3))
    return np.clip(value + noise, 0, 255).astype(np.uint8)


def _run(s: Settings) -> str:
    client = registry.connect(s)
    known = client.get_experiment_by_name(s.experiment)
    experiment = known.experiment_id if known else client.create_experiment(s.experiment, s.mlflow_artifacts)
    run = client.create_run(experiment)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def share(place: Path) -> dict[str, str]:
    """Environment of a project whose MLflow database is shared among tests: its migration takes seconds."""
    return {
        "BLOODYSPY_MLFLOW_URI": f"sqlite:///{place / 'mlflow.db'}",
        "BLOODYSPY_MLFLOW_ARTIFACTS": (place / "mlartifacts").as_uri(),
    }
