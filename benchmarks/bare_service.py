"""What a person writes in an hour: an upload, a model, an answer; no sign-in, no statistics, no log.

``uvicorn --factory benchmarks.bare_service:graph`` (or ``:network``), with BLOODYSPY_BENCH_MODEL naming an artefact.
"""

import os
from pathlib import Path

from fastapi import FastAPI, UploadFile

from bloodyspy.cells import CELL_TYPES
from bloodyspy.model.classifier import Classifier


def graph() -> FastAPI:
    """The artefact's own decode, resize and graph."""
    classifier = Classifier.load(Path(os.environ["BLOODYSPY_BENCH_MODEL"]))
    application = FastAPI()

    @application.post("/classify")
    def classify(file: UploadFile) -> dict[str, float]:
        answer = classifier.probabilities(classifier.prepare(file.file.read())[None])[0]
        return dict(zip(CELL_TYPES, answer.tolist(), strict=True))

    return application


def network() -> FastAPI:
    """The same decode and resize, and the network in Keras."""
    from bloodyspy.model.artifact import NETWORK
    from bloodyspy.model.backend import keras

    folder = Path(os.environ["BLOODYSPY_BENCH_MODEL"])
    classifier = Classifier.load(folder)
    model = keras.models.load_model(folder / NETWORK, compile=False)
    application = FastAPI()

    @application.post("/classify")
    def classify(file: UploadFile) -> dict[str, float]:
        answer = model.predict(classifier.prepare(file.file.read())[None], verbose=0)[0]
        return dict(zip(CELL_TYPES, answer.tolist(), strict=True))

    return application
