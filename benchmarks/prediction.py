"""``bloodyspy predict`` beside its limit: decode and graph alone, hot, on every core; and what the limit is made of.

The limit is the sum of two ways that use every core each: preparing all pictures from memory, and classifying prepared
batches, by whichever of two callers with a thread each or one caller with two threads is quicker. No file is read, no
row is written, nothing waits for anything.
"""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.champion import champion
from benchmarks.side_by_side import measure, show
from bloodyspy.images.decode import decode
from bloodyspy.images.files import find
from bloodyspy.images.preprocess import to_array
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.prediction import BATCH, write

PICTURES = 2048
ROUNDS = 5


def main() -> None:
    settings, model = champion()
    found = find([settings.data]).files
    files = found[:: max(1, len(found) // PICTURES)]
    cores = len(os.sched_getaffinity(0))
    single, wide = Classifier.load(model, 1), Classifier.load(model, cores)
    payloads = [path.read_bytes() for path in files]
    pixels = [decode(payload).pixels for payload in payloads[:256]]
    inputs = np.stack([single.prepare(payload) for payload in payloads])
    batches = [inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH)]
    pieces = [payloads[start : start + BATCH] for start in range(0, len(payloads), BATCH)]
    spec = single.spec
    kind = "drawn" if spec.synthetic else "real"
    title = f"{spec.network}, {spec.input.size} px, {spec.runtime} {spec.precision}, {kind} pictures"

    parts = measure(
        {
            "decode": lambda: [decode(payload) for payload in payloads[:256]],
            "resize": lambda: [to_array(one, spec.input) for one in pixels],
            "graph": lambda: [single.probabilities(batch) for batch in batches[: 256 // BATCH]],
        },
        per=256,
    )
    parts["decode, resize and graph"] = sum(parts.values())
    show(f"One core: {title}", parts, "decode, resize and graph")

    with ThreadPoolExecutor(cores) as pool, tempfile.TemporaryDirectory() as scratch:
        folder, table = Path(scratch, "pictures"), Path(scratch, "out.csv")
        folder.mkdir()
        for number, path in enumerate(files):
            (folder / f"{number:06}{path.suffix}").symlink_to(path.resolve())
        command = [Path(sys.executable).with_name("bloodyspy"), "predict", folder, "--csv", table, "--model", model]
        # the start of the command, with one picture: what a long run does not notice
        start = [*command[:2], files[0].resolve(), *command[3:]]
        medians = measure(
            {
                "decode and resize, every core": lambda: list(
                    pool.map(lambda piece: [single.prepare(payload) for payload in piece], pieces)
                ),
                "graph, a caller on every core": lambda: list(pool.map(single.probabilities, batches)),
                "graph, one caller with every core": lambda: [wide.probabilities(batch) for batch in batches],
                "predict, in a process that runs": lambda: write(single, files, table),
                "predict, the command": lambda: subprocess.run(command, check=True, capture_output=True),
                "the command's start and end": lambda: subprocess.run(start, check=True, capture_output=True),
            },
            per=len(files),
            rounds=ROUNDS,
        )
    decoding, callers, threads, running, *_ = medians.values()
    limit = "the limit: decode, resize and graph"
    medians[limit] = decoding + min(callers, threads)
    show(f"{cores} cores, {len(files)} files: {title}", medians, limit)
    share = medians[limit] / running
    sys.stdout.write(
        f"predict runs at {share:.0%} of the limit; its start is paid once, whatever the number of files.\n"
    )
