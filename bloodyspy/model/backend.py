"""Starts TensorFlow once, and quietly: every other module takes Keras from here.

TensorFlow uses every core that the process may run on; ``TF_NUM_INTRAOP_THREADS`` and ``taskset`` limit it.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

# Read when Keras and TensorFlow are imported. The first is a decision of this project, the others one may overrule.
os.environ["KERAS_BACKEND"] = "tensorflow"
# TensorFlow uses oneDNN's kernels by itself only where a processor has VNNI or AMX: docs/decisions/0044.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextlib.contextmanager
def _silent_libraries() -> Iterator[None]:
    """TensorFlow's libraries greet on the descriptor of the standard error before any log level is in force."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


with _silent_libraries():
    import keras as keras
    import tensorflow as tensorflow

# Its Python half warns of what is meant: one prediction function per network, exports of networks never compiled.
tensorflow.get_logger().setLevel("ERROR")
