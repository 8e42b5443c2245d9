"""The one loader and the one road: bytes in, observation out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bloodyspy.errors import ImageError
from bloodyspy.images.decode import MAX_PIXELS, decode
from bloodyspy.images.preprocess import to_array
from bloodyspy.images.statistics import ImageStatistics, describe
from bloodyspy.model.artifact import Artefact, ModelSpec
from bloodyspy.model.calibration import tempered
from bloodyspy.model.inference import InferenceGraph
from bloodyspy.observation import Observation

Source = TypeVar("Source")
"""What pictures are prepared from: bytes, or a file."""


class Classifier:
    """A model ready to answer. Safe to call from several threads."""

    def __init__(self, artefact: Artefact, threads: int = 1) -> None:
        self.artefact = artefact
        spec = artefact.spec
        self._graph = InferenceGraph(artefact.path / spec.graph, threads, spec.runtime, spec.precision)

    @classmethod
    def load(cls, path: Path, threads: int = 1) -> "Classifier":
        """Open, check and load a model directory.

        Raises:
            ArtefactInvalid: incomplete, altered or of another format.
            PreprocessMismatch: pictures are prepared differently here.
        """
        return cls(Artefact.open(path), threads)

    @property
    def spec(self) -> ModelSpec:
        """The facts of the model."""
        return self.artefact.spec

    def prepare(self, payload: bytes) -> NDArray[np.uint8]:
        """The network's input for one picture, shape (size, size, 3)."""
        return to_array(decode(payload).pixels, self.spec.input)

    def probabilities(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated probabilities of prepared pictures: (n, size, size, 3) in, (n, 8) out."""
        return tempered(self._graph(batch), self.spec.temperature)

    def answers(
        self, sources: Sequence[Source], prepare: Callable[[Source], NDArray[np.uint8]]
    ) -> list[NDArray[np.float32] | ImageError]:
        """Probabilities of several pictures, shape (8,) each, in one run of the graph.

        Args:
            sources: a batch of pictures.
            prepare: makes the network's input, shape (size, size, 3), of one. Where it raises an ImageError, that is
                the picture's answer, and the others have theirs.
        """
        size = self.spec.input.size
        inputs = np.empty((len(sources), size, size, 3), dtype=np.uint8)
        refused: list[ImageError | None] = []
        readable = 0
        for source in sources:
            try:
                inputs[readable] = prepare(source)
            except ImageError as error:
                refused.append(error)
            else:
                refused.append(None)
                readable += 1
        probabilities = iter(self.probabilities(inputs[:readable]))
        return [error or next(probabilities) for error in refused]

    def observe_all(self, payloads: Sequence[bytes], max_pixels: int = MAX_PIXELS) -> list[Observation | ImageError]:
        """Walk the whole road with several pictures together; one that cannot be decoded has its error in its place."""
        described: list[ImageStatistics] = []

        def prepare(payload: bytes) -> NDArray[np.uint8]:
            pixels = decode(payload, max_pixels).pixels
            described.append(describe(pixels))
            return to_array(pixels, self.spec.input)

        answers = self.answers(payloads, prepare)
        statistics, provenance = iter(described), self.spec.provenance
        return [
            answer if isinstance(answer, ImageError) else Observation.of(next(statistics), answer, provenance)
            for answer in answers
        ]

    def observe(self, payload: bytes, max_pixels: int = MAX_PIXELS) -> Observation:
        """Walk the whole road with one picture.

        Raises:
            UnreadableImage, ImageTooLarge: from decoding.
        """
        (outcome,) = self.observe_all([payload], max_pixels)
        if isinstance(outcome, ImageError):
            raise outcome
        return outcome
