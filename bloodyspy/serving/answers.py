"""The shapes of the service's answers. Pydantic models, because a dict's schema would be rebuilt for each answer."""

from base64 import b64encode
from itertools import zip_longest
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import ImageError
from bloodyspy.model.artifact import ModelSpec
from bloodyspy.model.explanation import Explanation
from bloodyspy.observation import Observation
from bloodyspy.policy import Action, AnswerPolicy, Reason
from bloodyspy.serving.reading import Reading
from bloodyspy.serving.roles import Role
from bloodyspy.serving.served import Served
from bloodyspy.serving.uploads import Upload


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class CallerAnswer(_Answer):
    """Who asks."""

    name: str
    role: Role = Field(description="read, classify, review or admin; each may do what those before it may")


class Status(_Answer):
    """The service is there."""

    status: Literal[1] = 1
    message: str


class Fault(_Answer):
    """Why there is no answer."""

    detail: str
    request_id: str


class Refusal(_Answer):
    """A file among several that is not a picture the service takes."""

    filename: str
    error: str


class ImageAnswer(_Answer):
    """What the original BloodySpy answered for one picture."""

    filename: str
    model: str
    predictions: dict[str, float] = Field(description="percent of each cell type, two decimals")
    predicted: str
    probability: float = Field(description="percent of the predicted type, two decimals")
    username: str

    @classmethod
    def of(cls, upload: Upload, observation: Observation, served: Served, username: str) -> "ImageAnswer":
        """From an observation."""
        percent = [round(100 * p, 2) for p in observation.probabilities]
        return cls(
            filename=upload.filename,
            model=model_name(served),
            predictions={cell.spelled_out: p for cell, p in zip(CELL_TYPES, percent, strict=True)},
            predicted=observation.predicted.spelled_out,
            probability=round(100 * observation.confidence, 2),
            username=username,
        )


ImagesAnswer = TypeAdapter(dict[str, str | ImageAnswer | Refusal])
"""``username``, and an answer under the name of each file."""


class Statistics(_Answer):
    """:class:`bloodyspy.images.statistics.ImageStatistics`, as the observation log has them."""

    model_config = ConfigDict(frozen=True, extra="allow")

    width: int
    height: int
    __pydantic_extra__: dict[str, float]


class ExplanationAnswer(_Answer):
    """Why an answer is what it is."""

    picture: str = Field(description="PNG as base64: what the network saw, with the heat of what spoke for the answer")
    inside: float = Field(description="share of the heat that lies on the cell, 0 to 1")
    drop: float = Field(description="of the probability when the hottest part is erased; near 0: it rests on others")


class Explanations(_Answer):
    """Why some answers are what they are."""

    request_id: str
    model_version: int
    results: list[ExplanationAnswer | Refusal] = Field(description="in the order in which the files were sent")


class Classified(_Answer):
    """One picture that was classified."""

    filename: str
    predicted: CellType
    confidence: float = Field(description="probability of the predicted type, 0 to 1")
    probabilities: dict[CellType, float] = Field(description="fractions that sum to 1")
    action: Action = Field(description="auto: believe it; review: a person looks first; reject: it is no answer")
    reasons: list[Reason] = Field(description="why it does not go out unseen; the sentences are at /v1/model")
    candidates: list[CellType] = Field(description="the types that are plausible")
    novelty: float = Field(description="how unlike the training cells it looks to the network, 0 to 1")
    foreignness: float = Field(description="how unlike the training pictures its statistics are, in deviations")
    statistics: Statistics = Field(description="what can be said of the picture without a network")
    explanation: ExplanationAnswer | None = Field(default=None, description="only where `explain=true` was asked")


class Classification(_Answer):
    """The full answer for one request."""

    request_id: str
    model: str
    model_version: int
    run_id: str = Field(description="MLflow run that trained the model")
    data_version: str = Field(description="digest of the data it was trained on")
    synthetic: bool = Field(description="trained on drawn cells: no number here says anything about real ones")
    username: str
    results: list[Classified | Refusal] = Field(description="in the order in which the files were sent")


class ServedModelAnswer(_Answer):
    """The model that answers now."""

    model: str
    model_version: int
    digest: str
    spec: ModelSpec
    policy: AnswerPolicy = Field(description="the limits beyond which an answer is reviewed or refused")
    reasons: dict[Reason, str] = Field(description="what each reason means")
    card: str = Field(description="the model card, Markdown")


def model_name(served: Served) -> str:
    """The model in a word or two, with the warning that drawn cells need."""
    spec = served.classifier.spec
    return f"{spec.candidate} v{served.release.version}" + (" (trained on drawn cells)" if spec.synthetic else "")


def images_answer(uploads: list[Upload], reading: Reading, username: str) -> bytes:
    """JSON of the original's answer to several files; a repeated name, or a file named ``username``, gets a number."""
    answer: dict[str, str | ImageAnswer | Refusal] = {"username": username}
    for upload, outcome in zip(uploads, reading.outcomes, strict=True):
        key, number = upload.filename, 1
        while key in answer:
            number += 1
            key = f"{upload.filename} ({number})"
        if isinstance(outcome, ImageError):
            answer[key] = Refusal(filename=upload.filename, error=str(outcome))
        else:
            answer[key] = ImageAnswer.of(upload, outcome, reading.served, username)
    return ImagesAnswer.dump_json(answer)


def classification(uploads: list[Upload], reading: Reading, request_id: str, username: str) -> Classification:
    """The full answer."""
    spec, release = reading.served.classifier.spec, reading.served.release
    return Classification(
        request_id=request_id,
        model=model_name(reading.served),
        model_version=release.version,
        run_id=spec.run_id,
        data_version=spec.data_version,
        synthetic=spec.synthetic,
        username=username,
        results=[
            _result(upload, outcome, explanation)
            for upload, outcome, explanation in zip_longest(uploads, reading.outcomes, reading.explanations)
        ],
    )


def explanations(
    uploads: list[Upload], found: tuple[Explanation | ImageError, ...], served: Served, request_id: str
) -> Explanations:
    """Why, for each picture."""
    return Explanations(
        request_id=request_id,
        model_version=served.release.version,
        results=[
            Refusal(filename=upload.filename, error=str(one)) if isinstance(one, ImageError) else _why(one)
            for upload, one in zip(uploads, found, strict=True)
        ],
    )


def _result(
    upload: Upload, outcome: Observation | ImageError, explanation: Explanation | ImageError | None
) -> Classified | Refusal:
    if isinstance(outcome, ImageError):
        return Refusal(filename=upload.filename, error=str(outcome))
    return Classified(
        filename=upload.filename,
        predicted=outcome.predicted,
        confidence=outcome.confidence,
        probabilities=dict(zip(CELL_TYPES, outcome.probabilities, strict=True)),
        action=outcome.verdict.action,
        reasons=list(outcome.verdict.reasons),
        candidates=list(outcome.verdict.candidates),
        novelty=outcome.verdict.novelty,
        foreignness=outcome.verdict.foreignness,
        statistics=Statistics.model_validate(outcome.statistics.row()),
        explanation=_why(explanation) if isinstance(explanation, Explanation) else None,
    )


def _why(found: Explanation) -> ExplanationAnswer:
    return ExplanationAnswer(picture=b64encode(found.picture).decode(), inside=found.inside, drop=found.drop)
