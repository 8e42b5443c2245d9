"""Where the time of one prediction goes: decode, describe, prepare, graph, and the whole road. One thread."""

import io

from PIL import Image

from benchmarks.side_by_side import measure, show
from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.evaluation.comparison import read_comparison
from bloodyspy.images.decode import decode
from bloodyspy.images.preprocess import to_array
from bloodyspy.images.statistics import describe
from bloodyspy.model.classifier import Classifier
from bloodyspy.settings import load_settings


def main() -> None:
    settings = load_settings()
    classifier = Classifier.load(settings.artefact(read_comparison(settings).best))
    manifest = read_manifest(settings.manifest)
    chosen = manifest.groupby("cell_type").head(8)
    payloads = [(settings.data / path).read_bytes() for path in chosen["path"]]
    pixels = [decode(payload).pixels for payload in payloads]
    arrays = [to_array(one, classifier.spec.input) for one in pixels]
    ways = {
        "Pillow: open and load": lambda: [Image.open(io.BytesIO(payload)).load() for payload in payloads],
        "decode": lambda: [decode(payload) for payload in payloads],
        "describe": lambda: [describe(one) for one in pixels],
        "prepare": lambda: [to_array(one, classifier.spec.input) for one in pixels],
        "graph": lambda: [classifier.probabilities(array[None]) for array in arrays],
        "observe (the whole road)": lambda: [classifier.observe(payload) for payload in payloads],
    }
    kind = "drawn" if classifier.spec.synthetic else "real"
    size = classifier.spec.input.size
    title = f"{classifier.spec.network}, {size} px, {len(payloads)} {kind} pictures of {len(CELL_TYPES)} types"
    show(title, measure(ways, per=len(payloads)), "observe (the whole road)")
