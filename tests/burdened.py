"""An artefact that takes its time: dark pictures cost it a second, nearly black ones never come to an end."""

import io
from pathlib import Path

import numpy as np
import onnx
from handmade import make_artefact, write_golden
from onnx import TensorProto, helper, numpy_helper
from pictures import tinted
from PIL import Image

from bloodyspy.model import artifact
from bloodyspy.model.artifact import Artefact

ENDLESS, SLOW = 3, 9
"""Brightest value of a picture that hangs, and of one that is slow."""

ROUNDS = 150
SIDE = 400


def dark(brightest: int) -> bytes:
    """A PNG of one grey."""
    stream = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), brightest, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def bright(seed: int = 1) -> bytes:
    """A PNG that is answered at once."""
    return tinted(seed)


def make_burdened(place: Path, run_id: str = "7" * 32) -> Artefact:
    """An artefact whose graph multiplies matrices as often as the picture is dark, before it says anything."""
    made = make_artefact(place, run_id, seed=7)
    model = onnx.load(made.path / artifact.GRAPH)
    *first, softmax = model.graph.node
    product = helper.make_tensor_value_info("product", TensorProto.FLOAT, [SIDE, SIDE])
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["matrix_in", "matrix"], ["product"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("matrix_in", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
        [helper.make_tensor_value_info("go_out", TensorProto.BOOL, []), product],
    )
    constants = {
        "matrix": np.full((SIDE, SIDE), 1e-3, np.float32),
        "endless": np.array(ENDLESS + 0.5, np.float32),
        "slow": np.array(SLOW + 0.5, np.float32),
        "for_ever": np.array(10**15, np.int64),
        "rounds": np.array(ROUNDS, np.int64),
        "none": np.array(0, np.int64),
        "yes": np.array(True),
        "nothing": np.array(0, np.float32),
    }
    nodes = [
        helper.make_node("ReduceMax", ["values"], ["brightest"], keepdims=0),
        helper.make_node("Less", ["brightest", "endless"], ["is_endless"]),
        helper.make_node("Less", ["brightest", "slow"], ["is_slow"]),
        helper.make_node("Where", ["is_slow", "rounds", "none"], ["some"]),
        helper.make_node("Where", ["is_endless", "for_ever", "some"], ["times"]),
        helper.make_node("Loop", ["times", "yes", "matrix"], ["last"], body=body),
        helper.make_node("ReduceMean", ["last"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["burden"]),
        helper.make_node("Add", ["logits", "burden"], ["burdened"]),
    ]
    softmax.input[0] = "burdened"
    del model.graph.node[:]
    model.graph.node.extend([*first, *nodes, softmax])
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.save(model, made.path / artifact.GRAPH)
    write_golden(made.path, made.spec)
    return artifact.seal(made.path)
