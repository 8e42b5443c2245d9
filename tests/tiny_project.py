"""A project small enough to train in seconds: eight colours in the place of eight cell types."""

import json

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES, SUBTYPES_OF, CellType
from bloodyspy.dataset.manifest import COLUMNS, write_manifest
from bloodyspy.images.statistics import STATISTICS
from bloodyspy.params import Params, load_params
from bloodyspy.settings import Settings

SIZE, PARTS = 32, {"train": 8, "validation": 4, "calibration": 2, "test": 2}
COLOURS = np.array([[r, g, b] for r in (60, 190) for g in (60, 190) for b in (60, 190)])


def pictures(per_class: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise around one colour for each class: uint8 (8 * per_class, 32, 32, 3) and labels, class by class."""
    labels = np.repeat(np.arange(len(CELL_TYPES)), per_class)
    noise = np.random.default_rng(seed).normal(0, 25, (len(labels), SIZE, SIZE, 3))
    return np.clip(COLOURS[labels][:, None, None] + noise, 0, 255).astype(np.uint8), labels


def subtype_in_turn(i: int, cell: CellType) -> str | None:
    """The sub-types of a type in turn, and every so often none."""
    names = (None, *SUBTYPES_OF.get(cell, ()))
    return names[i % len(names)]


def declare_study(settings: Settings, trials: int, **changes: object) -> Params:
    """Put a study ``tuned`` of the candidate ``tiny`` into the project's params.yaml."""
    path = settings.root / "params.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    study = {
        "candidate": "tiny",
        "trials": trials,
        "seed": 1,
        "pruner": {"kind": "median", "startup_trials": 3, "warm_up_epochs": 1},
        "space": {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "batch_size": {"choices": [8, 16]}},
    }
    content["tuning"] = {"tuned": {**study, **changes}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_params(path)


def make_tiny_project(settings: Settings, **candidate: str | int | float) -> Params:
    """Everything that ``train`` reads, in the settings' project: one candidate ``tiny``, its pictures prepared."""
    content = yaml.safe_load((settings.root / "params.yaml").read_text(encoding="utf-8"))
    content["inputs"] = {"px32": {"size": SIZE}}
    tiny = {**content["candidates"]["small_cnn"], "input": "px32", "batch_size": 16, "epochs": 3, **candidate}
    content["candidates"], content["tuning"] = {"tiny": tiny}, {}
    (settings.root / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    per_class = sum(PARTS.values())
    images, labels = pictures(per_class, seed=5)
    parts = [part for part, count in PARTS.items() for _ in range(count)] * len(CELL_TYPES)
    rows = {
        "path": [f"{CELL_TYPES[label]}/{i:03d}.png" for i, label in enumerate(labels)],
        "cell_type": [str(CELL_TYPES[label]) for label in labels],
        "subtype": [subtype_in_turn(i, CELL_TYPES[label]) for i, label in enumerate(labels)],
        "sha256": [f"{i:064x}" for i in range(len(labels))],
        "phash": [f"{i:064x}" for i in range(len(labels))],
        "bytes": 1,
        "format": "PNG",
        "source": "tiny",
        "part": parts,
        **dict.fromkeys(STATISTICS, 1.0),
        "width": SIZE,
        "height": SIZE,
    }
    write_manifest(pd.DataFrame(rows)[list(COLUMNS)], settings.manifest)
    settings.prepared("px32").mkdir(parents=True)
    np.save(settings.prepared("px32") / "images.npy", images)
    settings.data.mkdir()
    (settings.data / "dataset.json").write_text(json.dumps({"synthetic": True, "sources": []}), encoding="utf-8")
    (settings.root / "data.dvc").write_text(f"outs:\n- md5: {'a' * 32}.dir\n  path: data\n", encoding="utf-8")
    return load_params(settings.root / "params.yaml")
