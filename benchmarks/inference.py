"""``make bench-inference``: every way to run the best candidate's network, side by side on one core.

Keras' ``predict`` and a compiled ``tf.function`` on ``network.keras``; each runtime and precision on the graphs of the
artefact; LiteRT on a conversion of its own. The pictures are noise: a dense network does the same work on any.
"""

import os
import tempfile
from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.champion import champion
from benchmarks.side_by_side import measure
from bloodyspy.model.artifact import GRAPH_INT8, INFERENCE, NETWORK
from bloodyspy.model.backend import keras, tensorflow
from bloodyspy.model.inference import InferenceGraph
from bloodyspy.model.inference_report import InferenceReport
from bloodyspy.model.timing import machine

Way = Callable[[NDArray[np.uint8]], object]
PREDICT, FUNCTION = "keras predict", "tf.function"
SINGLE = 8


def main() -> None:
    """On one core, so before any engine has counted the cores: a process of its own."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _, folder = champion()
    report = InferenceReport.model_validate_json((folder / INFERENCE).read_bytes())
    model = keras.models.load_model(folder / NETWORK, compile=False)
    _, height, width, channels = model.input_shape
    pictures = np.random.default_rng(0).integers(0, 256, (32, height, width, channels), dtype=np.uint8)
    ways = {PREDICT: lambda batch: model.predict(batch, verbose=0), FUNCTION: compiled(model), "LiteRT": litert(model)}
    for variant in report.variants:
        if (folder / variant.file).exists():
            ways[variant.name] = InferenceGraph(folder / variant.file, 1, variant.runtime, variant.precision)
        else:
            Console().print(f"{variant.name} is left out: the parity gate refused {GRAPH_INT8} ({variant.reason})")
    alone = measure(
        {name: lambda way=way: [way(pictures[i : i + 1]) for i in range(SINGLE)] for name, way in ways.items()},
        per=SINGLE,
        rounds=15,
    )
    batched = measure({name: lambda way=way: way(pictures) for name, way in ways.items()}, per=len(pictures), rounds=15)
    show(model.name, height, alone, batched, report.choice.name)


def compiled(model: keras.Model) -> Way:
    """The network as a traced graph, one trace for both batch sizes."""
    signature = tensorflow.TensorSpec((None, *model.input_shape[1:]), tensorflow.uint8)
    function = tensorflow.function(lambda batch: model(batch, training=False), input_signature=[signature])
    return lambda batch: function(tensorflow.constant(batch)).numpy()


def litert(model: keras.Model) -> Way:
    """The network in LiteRT, float32, an interpreter for each batch size."""
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        content = tensorflow.lite.TFLiteConverter.from_saved_model(folder).convert()
    interpreters: dict[int, Interpreter] = {}

    def run(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(batch) not in interpreters:
            made = Interpreter(model_content=content, num_threads=1)
            made.resize_tensor_input(made.get_input_details()[0]["index"], batch.shape)
            made.allocate_tensors()
            interpreters[len(batch)] = made
        interpreter = interpreters[len(batch)]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    return run


def show(network: str, size: int, alone: dict[str, float], batched: dict[str, float], served: str) -> None:
    columns = ("ms, 1", "ms, 32", "predict / it, 1", "tf.function / it, 1", "predict / it, 32")
    title = f"{network}, {size} px, milliseconds a picture in batches of 1 and of 32; {machine()}"
    table = Table("way", *columns, title=title, title_justify="left")
    for name in alone:
        ratios = (alone[PREDICT] / alone[name], alone[FUNCTION] / alone[name], batched[PREDICT] / batched[name])
        cells = (f"{alone[name]:.3f}", f"{batched[name]:.3f}", *(f"{ratio:.1f}" for ratio in ratios))
        table.add_row(name + (" (serves)" if name == served else ""), *cells)
    Console(width=120).print(table)
