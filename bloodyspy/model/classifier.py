"""The one loader and the one road: bytes in, observation out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bloodyspy.images.decode import MAX_PIXELS, decode
from bloodyspy.images.preprocess import to_array
from bloodyspy.images.statistics import ImageStatistics, describe
from bloodyspy.model.artifact import Artefact, ModelSpec
from bloodyspy.model.calibration import tempered
from bloodyspy.model.explanation import Explanation, Head, explain
from bloodyspy.model.familiarity import Familiarity
from bloodyspy.model.inference import InferenceGraph
from bloodyspy.observation import Observation
from bloodyspy.policy import AnswerPolicy


class Classifier:
    """A model ready to answer. Safe to call from several threads."""

    def __init__(self, artefact: Artefact, threads: int = 1) -> None:
        self.artefact = artefact
        spec = artefact.spec
        self._graph = InferenceGraph(artefact.path / spec.graph, threads, spec.runtime, spec.precision)
        self.familiarity = Familiarity.read(artefact.path)
        self._head = Head.read(artefact.path)
        self.policy = AnswerPolicy.read(artefact.path)

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

    def observe(self, payload: bytes, max_pixels: int = MAX_PIXELS) -> Observation:
        """Walk the whole road with one picture.

        Raises:
            UnreadableImage, ImageTooLarge: from decoding.
        """
        pixels = decode(payload, max_pixels).pixels
        (observation,) = self.observed([describe(pixels)], to_array(pixels, self.spec.input)[None])
        return observation

    def explain(self, payload: bytes, max_pixels: int = MAX_PIXELS) -> Explanation:
        """Why the answer to one picture is what it is; takes nine inferences.

        Raises:
            UnreadableImage, ImageTooLarge: from decoding.
        """
        array = to_array(decode(payload, max_pixels).pixels, self.spec.input)
        return explain(array, self._head, self._graph.infer, self.spec.temperature)

    def observed(self, statistics: Sequence[ImageStatistics], batch: NDArray[np.uint8]) -> list[Observation]:
        """The road's second half: statistics and inputs (n, size, size, 3) of n pictures to their observations."""
        inferred = self._graph.infer(batch)
        probabilities = tempered(inferred.probabilities, self.spec.temperature)
        novelty = self.familiarity.novelty(inferred.features)
        verdicts = (
            self.policy.judge(answer, float(new), self.familiarity.foreignness(seen), seen)
            for seen, answer, new in zip(statistics, probabilities, novelty, strict=True)
        )
        return [
            Observation.of(seen, answer, verdict, self.spec.provenance)
            for seen, answer, verdict in zip(statistics, probabilities, verdicts, strict=True)
        ]
