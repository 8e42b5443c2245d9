"""A training without TensorFlow for tests of the search: it learns by formula, and keeps real checkpoints."""

import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bloodyspy.model.checkpoint import Checkpoint, Epoch, State
from bloodyspy.params import Candidate, InputSpec
from bloodyspy.settings import Settings


def train(
    name: str,
    candidate: Candidate,
    spec: InputSpec,
    checkpoint: Checkpoint,
    recorder: Any,
    s: Settings,
    watch: Callable[[Epoch], None],
) -> tuple[Epoch, ...]:
    """The nearer the learning rate is to 0.01, the lower the loss; each epoch takes BLOODYSPY_TEST_SECONDS."""
    recorded = recorder.begin(checkpoint.identity())
    state = checkpoint.load()
    history = state.history if state else ()
    for row in history[recorded:]:
        recorder.epoch(row.epoch, row.model_dump(exclude={"epoch"}))
    distance = abs(math.log10(candidate.learning_rate / 0.01))
    for number in range(len(history) + 1, candidate.epochs + 1):
        time.sleep(float(os.environ.get("BLOODYSPY_TEST_SECONDS", "0")))
        measured = {"epoch": number, "val_loss": distance + 1 / number, "learning_rate": candidate.learning_rate}
        row = Epoch.model_validate({**dict.fromkeys(Epoch.model_fields, 1.0), **measured})
        history = (*history, row)
        checkpoint.save(State([np.zeros(1)], [np.zeros(1)], [np.zeros(1)], history))
        recorder.epoch(number, row.model_dump(exclude={"epoch"}))
        watch(row)
    return history


if __name__ == "__main__":  # one worker of the study `tuned`
    import logging
    import signal

    from bloodyspy.adapters.tracking import recording_study
    from bloodyspy.model.tuning import tune
    from bloodyspy.params import load_params
    from bloodyspy.settings import load_settings

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = load_settings()
    params = load_params(settings.root / "params.yaml")
    with recording_study("tuned", settings, params) as study_run:
        tune("tuned", settings, params, study_run, train)
