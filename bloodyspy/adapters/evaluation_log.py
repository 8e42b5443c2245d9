"""What was measured of an artefact, on the MLflow run of its fit: metrics, figures, card, and the model as a pyfunc."""

import json
import logging
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from numpy.typing import NDArray

import bloodyspy
from bloodyspy.adapters.pyfunc import IMAGE
from bloodyspy.adapters.registry import DIGEST, connect, logged_model, translated
from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.evaluation import figures, stress
from bloodyspy.evaluation.comparison import read_scores
from bloodyspy.evaluation.model_card.writing import headline
from bloodyspy.evaluation.scores import Scores
from bloodyspy.images.decode import decode
from bloodyspy.images.synthetic import draw_picture
from bloodyspy.model.artifact import CARD, CARD_HTML, Artefact
from bloodyspy.params import Params
from bloodyspy.settings import Settings

with warnings.catch_warnings():
    # While it is imported, MLflow warns of type hints of its own.
    warnings.filterwarnings("ignore", message=".*Any type hint", category=UserWarning)
    from mlflow.pyfunc import save_model

logger = logging.getLogger(__name__)

# What the loader module imports, and what serves it. Given, because MLflow's own guess loads the model in another
# process and takes half a minute.
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow", "opencv-python-headless", "pydantic")

SIDE_BY_SIDE = "side-by-side"
"""Name of the view of the experiment's runs that compares candidates; open it in MLflow's UI at
``#/experiments/<id>/runs?viewStateShareKey=side-by-side``."""

_VIEW_TAG = f"mlflow.sharedViewState.{SIDE_BY_SIDE}"
_COMPARED = (
    *("validation_macro_f1", "test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_balanced_accuracy"),
    *("test_sensitivity_ig", "test_ece", "stress_mean_balanced_error", "cost_megabytes_graph"),
    *("cost_milliseconds_picture", "cost_memory_mb"),
)

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.binary, IMAGE)]),
    outputs=Schema(
        [
            *(ColSpec(DataType.double, str(cell)) for cell in CELL_TYPES),
            ColSpec(DataType.string, "predicted"),
            ColSpec(DataType.double, "confidence"),
        ]
    ),
)


def log_evaluation(artefact: Artefact, s: Settings, p: Params) -> None:
    """Log an artefact on the run that its spec names; nothing is done where that happened already.

    A figure whose source was not built here (the learning curve of a model that was pulled alone) is left out with a
    warning.

    Raises:
        RegistryError: the store does not know the run, or does not answer.
    """
    with translated("The evaluation could not be logged", s):
        client = connect(s)
        if logged_model(client, artefact, s) is not None:
            logger.info("%s is logged on its run already", artefact.spec.candidate)
            return
        run_id, scores = artefact.spec.run_id, read_scores(artefact)
        experiment = client.get_run(run_id).info.experiment_id
        client.set_experiment_tag(experiment, _VIEW_TAG, _view(p))
        address = f"#/experiments/{experiment}/runs?viewStateShareKey={SIDE_BY_SIDE}"
        client.set_experiment_tag(experiment, "mlflow.note.content", f"[Candidates side by side]({address})")
        for path, figure in _figures(artefact, scores, s, p):
            client.log_figure(run_id, figure, f"figures/{path}.png")
        for card in (CARD, CARD_HTML):
            client.log_artifact(run_id, str(artefact.path / card))
        note = headline(artefact.spec, scores)
        client.set_tag(run_id, "mlflow.note.content", note)
        # The logged model comes last: it carries the digest that says that everything above is there.
        model = _log_model(client, artefact, note)
        _log_metrics(client, run_id, model.model_id, scores)
        _log_seeds(client, scores)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _view(p: Params) -> str:
    """The state of MLflow's table of runs in which a few of the many numbers of a run stand side by side.

    It is what the UI itself stores when somebody shares a view (MLflow 3.17), with every key that it reads.
    """
    columns = [f"metrics.`{name}`" for name in _COMPARED]
    return json.dumps(
        {
            "searchFilter": "",
            "orderByKey": f"metrics.`validation_{p.promotion.metric}`",
            "orderByAsc": False,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": [*columns, "params.`network`", "params.`input`"],
            "columnOrder": [],
            "columnWidths": {},
            "runsExpanded": {},
            "runsPinned": [],
            "runsHidden": [],
            "runsVisibilityMap": {},
            "runsHiddenMode": "FIRST_10_RUNS",
            "viewMaximized": False,
            "runListHidden": False,
            "isAccordionReordered": False,
            "useGroupedValuesInCharts": True,
            "hideEmptyCharts": True,
            "groupBy": None,
        }
    )


def _log_metrics(client: MlflowClient, run_id: str, model_id: str, scores: Scores) -> None:
    now = int(time.time() * 1000)
    client.log_batch(
        run_id, metrics=[Metric(key, number, now, 0, model_id=model_id) for key, number in scores.flat().items()]
    )


def _log_seeds(client: MlflowClient, scores: Scores) -> None:
    """What each seed came to stands on the run of its training."""
    for one in scores.seeds.runs if scores.seeds else ():
        for name, number in one.model_dump(exclude={"seed", "run_id"}, exclude_none=True).items():
            client.log_metric(one.run_id, name, number)


def _figures(artefact: Artefact, scores: Scores, s: Settings, p: Params) -> Iterator[tuple[str, Figure]]:
    name = artefact.spec.candidate
    title = f"{name} (synthetic)" if artefact.spec.synthetic else name
    sealed = f"{title}, sealed test part"
    yield "confusion_validation", figures.confusion_matrix(scores.validation, f"{title}, validation part")
    yield "confusion_test", figures.confusion_matrix(scores.test, sealed)
    yield "confusion_test_by_subtype", figures.confusion_by_subtype(scores.test, sealed)
    yield "sensitivity_test", figures.sensitivity(scores.test, sealed, p.promotion.floors.sensitivity)
    before, after = scores.calibration.test_before, scores.calibration.test_after
    yield "reliability_test", figures.reliability(before, after, sealed)
    yield "risk_coverage_test", figures.risk_coverage(scores.test, sealed)
    yield "stress_test", stress.figure(scores.stress, sealed)
    history, predictions = s.fit(name) / "history.csv", s.build / "predictions" / f"{name}.parquet"
    if history.is_file():
        yield "learning_curves", figures.learning_curves(pd.read_csv(history), title)
    else:
        logger.warning("%s: no learning curves, %s is not there", name, history)
    if predictions.is_file() and s.data.is_dir():
        answers = pd.read_parquet(predictions)

        def picture(path: str) -> NDArray[np.uint8]:
            return decode((s.data / path).read_bytes()).pixels

        for part, words in (("validation", "validation part"), ("test", "sealed test part")):
            chosen = answers[answers["part"] == part]
            yield f"errors_{part}", figures.example_errors(chosen, picture, f"{title}, {words}")
    else:
        logger.warning("%s: no gallery of errors, %s or the pictures are not there", name, predictions)


def _log_model(client: MlflowClient, artefact: Artefact, note: str) -> LoggedModel:
    run = client.get_run(artefact.spec.run_id)
    model = client.create_logged_model(
        experiment_id=run.info.experiment_id,
        name=artefact.spec.candidate,
        source_run_id=run.info.run_id,
        tags={DIGEST: artefact.digest, "mlflow.note.content": note},
        params=run.data.params,
        model_type="image classifier",
    )
    with TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        save_model(
            place,
            loader_module="bloodyspy.adapters.pyfunc",
            data_path=str(artefact.path),
            # The library travels with the model, so that it can be served where only the requirements are installed.
            code_paths=[str(Path(bloodyspy.__file__).parent)],
            mlflow_model=Model(
                artifact_path=model.artifact_location,
                run_id=run.info.run_id,
                model_uuid=model.model_id,
                model_id=model.model_id,
            ),
            signature=SIGNATURE,
            # drawn, because a patient's picture does not belong in a registry
            input_example=pd.DataFrame({IMAGE: [draw_picture(CellType.NEUTROPHIL, index=0, seed=0)[1]]}),
            pip_requirements=[f"{name}=={version(name)}" for name in (*_REQUIREMENTS, str(artefact.spec.runtime))],
        )
        client.log_model_artifacts(model.model_id, str(place))
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model
