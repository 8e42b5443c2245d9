"""Artefacts made by hand: a real inference graph that knows colours, in milliseconds and without TensorFlow."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from observed import signatures
from onnx import TensorProto, helper, numpy_helper
from pictures import tinted

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.dataset.version import DatasetInfo, SourceInfo
from bloodyspy.evaluation import selective
from bloodyspy.evaluation.calibration import calibration
from bloodyspy.evaluation.intervals import wilson
from bloodyspy.evaluation.metrics import Metrics, score
from bloodyspy.evaluation.model_card.previous import Previous
from bloodyspy.evaluation.model_card.writing import write_card
from bloodyspy.evaluation.origin import PARTS, data_of
from bloodyspy.evaluation.scores import Cost, External, NoCells, Scores, Seeds, SeedScore, Stress, StressCell
from bloodyspy.images.corruption import STRESSES
from bloodyspy.images.preprocess import InputSpec, golden_hash, golden_picture
from bloodyspy.images.statistics import ImageStatistics, describe
from bloodyspy.model import artifact, golden
from bloodyspy.model.artifact import Artefact, ModelSpec
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.explanation import Head
from bloodyspy.model.familiarity import COMPARED, Familiarity
from bloodyspy.model.inference import Precision, Runtime
from bloodyspy.model.inference_report import InferenceReport, Variant
from bloodyspy.observation import Observation, Provenance, rows
from bloodyspy.policy import POLICY, AnswerPolicy, Band, Quality, Reason

_SUBTYPES = {
    CellType.IG: ("metamyelocyte", "myelocyte", "promyelocyte"),
    CellType.NEUTROPHIL: ("band neutrophil", "segmented neutrophil"),
}


def metrics_of(share_right: float, n: int = 400, seed: int = 0) -> Metrics:
    """Metrics of a classifier that is right about that share."""
    labels, probabilities = answers_of(share_right, n, seed)
    return score(labels, probabilities, subtypes=[_subtype(i) for i in range(n)])


def _subtype(image: int) -> str:
    cell_type = CELL_TYPES[image % 8]
    names = _SUBTYPES.get(cell_type, (str(cell_type),))
    return names[image // 8 % len(names)]


def answers_of(share_right: float, n: int = 400, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels (n,) and probabilities (n, 8) of a classifier that is right about that share."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 8
    answers = np.where(rng.random(n) < share_right, labels, (labels + 1) % 8)
    probabilities = np.full((n, 8), 0.02)
    probabilities[np.arange(n), answers] = 0.86
    return labels, probabilities


def scores_of(share_right: float, seed: int = 1, *, external: bool = False, seeds: bool = False) -> Scores:
    """Scores of a classifier that is right about that share, with everything that an artefact tells of it."""
    test = metrics_of(share_right, seed=seed)
    errors = [wilson(round(400 * (1 - share_right)) + 20 * severity, 1000) for severity in range(1, 6)]
    elsewhere = metrics_of(0.6, 200, seed)
    other = External(
        name="elsewhere",
        digest="a" * 64,
        images=200,
        unreadable=1,
        in_data_set=4,
        duplicates=7,
        metrics=elsewhere,
        answers=selective.measure(*observations_of(0.6, 200, seed)),
    )
    numbers = {"validation_accuracy": 0.9, "test_balanced_accuracy": 0.91, "test_ig_sensitivity": 0.8, "test_ece": 0.02}
    runs = [SeedScore(seed=i, run_id=f"{i:032x}", test_accuracy=0.9 + i / 100, **numbers) for i in (1, 2, 3)]
    return Scores(
        validation=metrics_of(share_right),
        test=test,
        test_digest="f" * 64,
        calibration=calibration(1.3, answers_of(share_right, 200, seed + 1), answers_of(share_right, seed=seed)),
        answers=selective.measure(*observations_of(share_right, seed=seed)),
        no_cells=NoCells(images=200, reject=wilson(196, 200), auto=wilson(1, 200), kinds={"noise": 1.0, "lines": 0.96}),
        stress=Stress(
            images=200,
            per_class=25,
            digest="9" * 64,
            clean=wilson(round(200 * (1 - share_right)), 200),
            cells=tuple(
                StressCell(kind=kind, severity=severity, balanced_error=errors[severity - 1])
                for kind in STRESSES
                for severity in range(1, 6)
            ),
            mean_balanced_error=errors[2],
        ),
        external=(other,) if external else (),
        cost=Cost(
            megabytes_artefact=1.5,
            megabytes_graph=0.5,
            memory_mb=50.0,
            milliseconds_1=0.05,
            milliseconds_32=0.02,
            milliseconds_picture=3.0,
        ),
        seeds=Seeds.of(runs) if seeds else None,
    )


def write_graph(path: Path, size: int, seed: int = 0) -> None:
    """A graph of the artefact's signature: mean colour, a linear layer, softmax. Its features are the pixels."""
    weights = graph_weights(seed)
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["values"], ["features"]),
        helper.make_node("ReduceMean", ["values"], ["colours"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["colours", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [None, size, size, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 8]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, size, size, 3]),
        ],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def graph_weights(seed: int) -> NDArray[np.float32]:
    """Of the linear layer of :func:`write_graph`, (3, 8)."""
    return np.random.default_rng(seed).normal(size=(3, 8)).astype(np.float32) / 32


def answer_policy(**limits: object) -> AnswerPolicy:
    """A policy that lets everything out which is more probable than half; ``limits`` change it."""
    band = Band(statistic="brightness", middle=128.0, spread=1.0)
    qualities = tuple(Quality(reason=one, bands=(band,), limit=1e6) for one in (Reason.FOCUS, Reason.EXPOSURE))
    permissive: dict[str, object] = {
        "images": 400,
        "least_probability": dict.fromkeys(CELL_TYPES, 0.5),
        "miscoverage": dict.fromkeys(CELL_TYPES, 0.03),
        "least_confidence": 0.5,
        "error": 0.005,
        "novelty": {"review": 1.0, "reject": 1.0},
        "foreignness": {"review": 1e6, "reject": 1e6},
        "refused": 0.002,
        "qualities": qualities,
    }
    return AnswerPolicy.model_validate(permissive | limits)


def familiarity() -> Familiarity:
    """Of mean colours about grey that differ in red only."""
    axes = np.eye(len(COMPARED)) / 100
    red = np.eye(3, dtype=np.float32)[:, :1]
    return Familiarity(np.full(3, 128.0, np.float32), red, np.full(1, 10.0), np.full(len(COMPARED), 100.0), axes)


def judged(
    probabilities: NDArray[np.floating], provenance: Provenance, statistics: ImageStatistics | None = None
) -> Observation:
    """An observation of an answer (8,), judged by the permissive policy; of the golden picture where none is told."""
    seen = statistics or describe(golden_picture())
    answer = np.asarray(probabilities, np.float32)
    return Observation.of(seen, answer, answer_policy().judge(answer, 0.5, 1.0, seen), np.zeros(16), provenance)


def observations_of(share_right: float, n: int = 400, seed: int = 0) -> tuple[NDArray[np.int64], list[Observation]]:
    """Labels and observations of a classifier that is right about that share."""
    labels, probabilities = answers_of(share_right, n, seed)
    statistics, provenance = describe(golden_picture()), Provenance("0" * 32, "d" * 32)
    return labels, [judged(one, provenance, statistics) for one in probabilities]


def write_golden(place: Path, spec: ModelSpec) -> None:
    """The answers of the graph that lies in an artefact's folder now, to small pictures of eight colours."""
    classifier = Classifier(Artefact(path=place, spec=spec, digest=""))
    made = golden.make(classifier, {cell: tinted(cell.position) for cell in CELL_TYPES})
    (place / artifact.GOLDEN).write_text(made.model_dump_json(indent=2))


def inference_report(graph: Path, runtime: Runtime = Runtime.ONNXRUNTIME) -> InferenceReport:
    """A report of one variant, as if it had been measured."""
    variant = Variant(
        runtime=runtime,
        precision=Precision.FLOAT32,
        file=graph.name,
        megabytes=graph.stat().st_size / 1e6,
        milliseconds_1=0.05,
        milliseconds_32=0.02,
        max_difference=2e-7,
        classes_differ=0,
        temperature=1.0,
        balanced_accuracy=0.9,
        ece=0.01,
        accepted=True,
        reason="the same classes, probabilities within 1e-04",
    )
    return InferenceReport(
        machine="made by hand, 1 core", threads=1, variants=(variant,), served=0, memory_mb=50.0, images_compared=400
    )


def make_artefact(
    place: Path,
    run_id: str = "0" * 32,
    *,
    candidate: str = "small_cnn",
    share_right: float = 0.9,
    parameters: int = 24,
    manifest_digest: str = "e" * 64,
    seed: int = 0,
    temperature: float = 1.0,
    runtime: Runtime = Runtime.ONNXRUNTIME,
    synthetic: bool = True,
    git_commit: str = "c" * 40,
    data_version: str = "d" * 32,
    scores: Scores | None = None,
    previous: Previous | None = None,
    policy: AnswerPolicy | None = None,
) -> Artefact:
    """A sealed artefact that the platform's tools take for a model."""
    place.mkdir(parents=True)
    spec = ModelSpec(
        candidate=candidate,
        network="colours",
        input=InputSpec(size=64),
        golden=golden_hash(InputSpec(size=64)),
        run_id=run_id,
        git_commit=git_commit,
        data_version=data_version,
        manifest_digest=manifest_digest,
        synthetic=synthetic,
        parameters=parameters,
        temperature=temperature,
        runtime=runtime,
        precision=Precision.FLOAT32,
    )
    (place / artifact.SPEC).write_text(spec.model_dump_json(indent=2))
    (place / artifact.NETWORK).write_text(f"no network: this artefact was made by hand, run {run_id}")
    write_graph(place / artifact.GRAPH, 64, seed)
    report = inference_report(place / artifact.GRAPH, runtime)
    (place / artifact.INFERENCE).write_text(report.model_dump_json(indent=2))
    training = {
        "fit": {"seed": 2},
        "kept": {"epochs": 14, "kept_epoch": 11, "seconds": 90.0},
        "candidate": {"network": "colours", "learning_rate": 0.002, "augmentation": {"turns": True, "blur": 0.5}},
    }
    (place / artifact.TRAINING).write_text(json.dumps(training, indent=2))
    frame = pd.DataFrame(
        [{"cell_type": str(CELL_TYPES[i % 8]), "part": PARTS[i % 5]} for i in range(1234) for _ in range(1 + i % 2)]
    )
    source = SourceInfo(name="pbc", images=len(frame), taken=len(frame), quarantined=0)
    data = data_of(data_version, manifest_digest, frame, DatasetInfo(synthetic=synthetic, sources=(source,)))
    (place / artifact.DATA).write_text(data.model_dump_json(indent=2))
    (place / artifact.METRICS).write_text((scores or scores_of(share_right)).model_dump_json(indent=2))
    (place / POLICY).write_text((policy or answer_policy()).model_dump_json(indent=2))
    familiarity().write(place)
    (place / artifact.SIGNATURES).write_text(signatures().model_dump_json(indent=2))
    Head(graph_weights(seed), np.zeros(8, np.float32), np.eye(8, dtype=np.float32)).write(place)
    write_card(place, previous)
    seen = judged(np.full(8, 1 / 8), Provenance(run_id, data_version))
    pd.DataFrame(rows([seen])).to_parquet(place / artifact.REFERENCE)
    pd.DataFrame(
        [{"cell_type": str(cell), "jpeg": tinted(cell.position, "JPEG", 96)} for cell in CELL_TYPES]
    ).to_parquet(place / artifact.TYPICAL)
    write_golden(place, spec)
    return artifact.seal(place)


def make_forgetful(place: Path) -> Artefact:
    """A whole artefact whose golden answers are another model's, as if its engine computed differently here."""
    made = make_artefact(place, "4" * 32, seed=4)
    other = make_artefact(place.with_name(f"{place.name} as it was"), seed=5)
    shutil.copyfile(other.path / artifact.GOLDEN, made.path / artifact.GOLDEN)
    return artifact.seal(made.path)
