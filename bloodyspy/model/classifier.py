"""The one loader and the one road: bytes in, observation out."""

from collections.abc import Callable, Iterable, Sequence
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
from bloodyspy.model.explanation import Explanation, Head, explain
from bloodyspy.model.familiarity import Familiarity
from bloodyspy.model.inference import InferenceGraph, Inferred
from bloodyspy.observation import Observation
from bloodyspy.policy import AnswerPolicy

Source = TypeVar("Source")
"""What a picture is prepared from: bytes, or a file."""
Answer = TypeVar("Answer")


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

    def inputs(
        self, sources: Sequence[Source], prepare: Callable[[Source], NDArray[np.uint8]]
    ) -> tuple[NDArray[np.uint8], list[ImageError | None]]:
        """The network's inputs for a batch of pictures, some of which may be none.

        Args:
            sources: what pictures are prepared from.
            prepare: makes the input, shape (size, size, 3), of one. Its ImageError leaves the picture out.

        Returns:
            Inputs of the n pictures that could be prepared, shape (n, size, size, 3), and for each source its error;
            :func:`placed` brings the answers back to the sources' places.
        """
        size = self.spec.input.size
        inputs = np.empty((len(sources), size, size, 3), dtype=np.uint8)
        refused: list[ImageError | None] = []
        readable = 0
        for source in sources:
            try:
                inputs[readable] = prepare(source)
            except ImageError as error:
                refused.append(_alone(error))
            else:
                refused.append(None)
                readable += 1
        return inputs[:readable], refused

    def observe_all(self, payloads: Sequence[bytes], max_pixels: int = MAX_PIXELS) -> list[Observation | ImageError]:
        """Walk the whole road with several pictures together; one that cannot be decoded has its error in its place."""
        statistics: list[ImageStatistics] = []
        last: list[NDArray[np.uint8]] = []  # the one picture that was decoded and is not measured yet

        def measure() -> None:
            if last:
                statistics.append(describe(last.pop()))

        def prepare(payload: bytes) -> NDArray[np.uint8]:
            measure()  # before the next is decoded: two pictures of 75 MB are not held together
            last.append(decode(payload, max_pixels).pixels)
            return to_array(last[0], self.spec.input)

        inputs, refused = self.inputs(payloads, prepare)
        # The last one is measured while the graph runs. Of a picture alone that is a tenth of its way.
        inferred = self._graph.infer(inputs, meanwhile=measure)
        return placed(self._observed(statistics, inferred), refused)

    def observed(self, statistics: Sequence[ImageStatistics], batch: NDArray[np.uint8]) -> list[Observation]:
        """The road's second half: statistics and inputs (n, size, size, 3) of n pictures to their observations."""
        return self._observed(statistics, self._graph.infer(batch))

    def _observed(self, statistics: Sequence[ImageStatistics], inferred: Inferred) -> list[Observation]:
        probabilities = tempered(inferred.probabilities, self.spec.temperature)
        novelty = self.familiarity.novelty(inferred.features)
        places = self.familiarity.embedding(inferred.features)
        verdicts = (
            self.policy.judge(answer, float(new), self.familiarity.foreignness(seen), seen)
            for seen, answer, new in zip(statistics, probabilities, novelty, strict=True)
        )
        return [
            Observation.of(seen, answer, verdict, place, self.spec.provenance)
            for seen, answer, verdict, place in zip(statistics, probabilities, verdicts, places, strict=True)
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

    def explain(self, payload: bytes, max_pixels: int = MAX_PIXELS) -> Explanation:
        """Why the answer to one picture is what it is; takes nine inferences.

        Raises:
            UnreadableImage, ImageTooLarge: from decoding.
        """
        array = to_array(decode(payload, max_pixels).pixels, self.spec.input)
        return explain(array, self._head, self._graph.infer, self.spec.temperature)


def _alone(error: ImageError) -> ImageError:
    """The error without where it came from: those frames hold the list that it goes into, and the decoded pixels.

    Such a ring is freed by the garbage collector only, which lets several pictures of 75 MB come together first.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def placed(answers: Iterable[Answer], refused: Sequence[ImageError | None]) -> list[Answer | ImageError]:
    """The answers to the pictures that were not refused, and the errors of the others, in the order of the sources."""
    remaining = iter(answers)
    return [next(remaining) if error is None else error for error in refused]
