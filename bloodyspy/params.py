"""params.yaml as frozen, strict models: an unknown key is refused by name."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bloodyspy.cells import CellType
from bloodyspy.errors import ParamsError
from bloodyspy.input_spec import InputSpec as InputSpec
from bloodyspy.loop_rule import Loop as Loop
from bloodyspy.loop_rule import Schedules
from bloodyspy.search_space import Name, Scalar, Study

Share = Annotated[float, Field(gt=0, lt=0.5)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Synthetic(_Strict):
    per_class: int = Field(ge=1, le=100_000)
    seed: int = Field(ge=0)


class Validation(_Strict):
    minimum_per_class: int = Field(ge=1)
    minimum_side: int = Field(ge=16)
    maximum_side: int = Field(le=16_384)


class Split(_Strict):
    test: Share
    validation: Share
    calibration: Share
    near_duplicate_bits: int = Field(ge=0, le=64)

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.test + self.validation + self.calibration > 0.9:
            raise ValueError("test, validation and calibration leave less than a tenth to train on")
        return self


class Candidate(_Strict):
    network: str
    weights: str = Field(description="none, imagenet, or the path of a weights file")
    input: Name
    epochs: int = Field(ge=1)
    patience: int = Field(ge=1, description="epochs without a lower loss on the validation part before the fit stops")
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="the highest: it rises to it and falls as a cosine to nothing")
    warm_up: float = Field(ge=0, lt=1, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(ge=0, description="share of the learning rate by which weights shrink in each step")
    label_smoothing: float = Field(ge=0, lt=1)
    weight_averaging: float = Field(ge=0, lt=1, description="decay of the moving average of the weights; 0: none")
    augmentation: Literal["none", "positions", "full"]
    targets: Literal["types", "subtypes"] = Field(
        description="what is taught: the eight types, or the sub-types where file names tell them, summed up to types"
    )
    training_share: float = Field(default=1.0, gt=0, le=1, description="of each class in the training part")
    seed: int = Field(ge=0)
    seeds: int = Field(default=1, ge=1, le=100, description="fits, with seed, seed + 1, ...; the best one is kept")

    def facts(self) -> dict[str, str]:
        """Every field in words."""
        return {key: str(value) for key, value in self.model_dump().items()}

    def changed(self, fields: Mapping[str, Scalar]) -> "Candidate":
        """This candidate with some fields changed.

        Raises:
            ParamsError: a candidate has no such field, or it cannot have that value.
        """
        try:
            return Candidate.model_validate({**self.model_dump(), **fields})
        except ValidationError as exc:
            raise ParamsError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())) from exc


class Policy(StrEnum):
    """What a challenger has to show on the sealed part beside not being worse."""

    REFRESH = "refresh"
    IMPROVEMENT = "improvement"


class Floors(_Strict):
    accuracy: Fraction
    balanced_accuracy: Fraction
    sensitivity: Fraction = Field(description="of each class")


Margin = Annotated[float, Field(gt=0, lt=1)]


class Margins(_Strict):
    balanced_accuracy: Margin
    sensitivity: dict[CellType, Margin] = Field(description="of the safety classes; Holm's correction over them")


class Limits(_Strict):
    calibration_error: Fraction
    export: Fraction = Field(description="of validation images that the graph answers otherwise than its network")
    stress: Fraction = Field(description="mean balanced error above the champion's")
    agreement: Fraction = Field(description="with the champion on live pictures, where it answered in the shadow")
    milliseconds: float = Field(gt=0, description="of a picture, from its bytes to the answer")
    megabytes: float = Field(gt=0, description="of the graph that serves, 10^6 bytes")


class Beyond(StrEnum):
    """What the gate does where the sealed images were used more often than is allowed."""

    WARN = "warn"
    CORRECT = "correct"
    REFUSE = "refuse"


class LooksRule(_Strict):
    limit: int = Field(ge=1, description="different networks that may be scored on the same sealed images")
    beyond: Beyond = Field(description="warn; correct: each test's level is divided by the challengers; or refuse")


class Approval(StrEnum):
    """Who lets a challenger through that the gate would promote."""

    AUTOMATIC = "automatic"
    REQUIRED = "required"


class Promotion(_Strict):
    metric: Literal["accuracy", "balanced_accuracy", "macro_f1"]
    policy: Policy
    level: float = Field(gt=0, lt=0.5, description="of each one-sided test")
    margins: Margins
    limits: Limits
    floors: Floors
    looks: LooksRule
    approval: Approval


class Apart(StrEnum):
    """Whose pictures are judged by themselves, beside all together."""

    NONE = "none"
    SITE = "site"
    INSTRUMENT = "instrument"
    """Of each site."""


class Monitoring(_Strict):
    window: int = Field(ge=10)
    hours: float | None = Field(default=None, gt=0, description="so old may a window's rows be; none: of any age")
    minimum_rows: int = Field(ge=10)
    apart: Apart = Field(default=Apart.NONE, description="whose pictures are judged by themselves, too")
    false_alarms: float = Field(gt=0, le=30, description="checks a month that may say drifted without any change")
    retention_days: int = Field(default=400, ge=1, description="of observations in the store")
    log_days: int = Field(default=14, ge=2, description="of the workers' logs, once all of a log is in the store")


class Evaluation(_Strict):
    stress_per_class: int = Field(ge=1, description="sealed images of each class in the stress suite")
    external: dict[Name, str] = Field(
        default_factory=dict, description="other laboratories: name to folder, with a folder per class"
    )


Rate = Annotated[float, Field(gt=0, lt=0.5)]


class Answers(_Strict):
    miscoverage: Rate = Field(description="share of each type's cells whose set of plausible types may miss it")
    error: Rate = Field(description="share of the answers that go out unseen that may be wrong")
    strange: Rate = Field(description="share of cells at home that may be looked at as unfamiliar, and as foreign")
    refused: Rate = Field(description="share of cells at home that may be refused for the same, each")
    quality: Rate = Field(description="share of pictures at home that may be faulted, in each of three respects")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.refused > self.strange:
            raise ValueError("more cells would be refused (refused) than be looked at (strange)")
        return self


class Labelling(_Strict):
    audit_share: Fraction = Field(default=0.02, description="of all answers, drawn whatever they are")
    readers: int = Field(default=2, ge=1, le=5, description="different people who have to agree on a picture")
    unsure: Fraction = Field(default=0.8, description="probability below which an answer is worth a look")
    queue: int = Field(default=500, ge=1, le=100_000, description="pictures beside those of the audit, at most")


class Params(_Strict):
    """The whole file. Candidate names are DVC stage names, so they are lower-case words."""

    synthetic: Synthetic
    validation: Validation
    split: Split
    inputs: dict[Name, InputSpec]
    candidates: dict[Name, Candidate]
    evaluation: Evaluation
    answers: Answers
    promotion: Promotion
    monitoring: Monitoring
    labelling: Labelling = Labelling()
    loop: Loop
    schedules: Schedules
    tuning: dict[Name, Study] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        if not self.candidates:
            raise ValueError("there is no candidate")
        for name, candidate in self.candidates.items():
            if candidate.input not in self.inputs:
                raise ValueError(f"candidate {name} names the input {candidate.input!r}, which is not under `inputs`")
        for name, study in self.tuning.items():
            self._check_study(name, study)
        if self.monitoring.minimum_rows > self.monitoring.window:
            raise ValueError("monitoring.minimum_rows is larger than monitoring.window: no check could ever be made")
        if self.loop.tolerance >= self.loop.watch.loss:
            raise ValueError("loop.tolerance is not below loop.watch.loss: no loss could ever be found")
        return self

    def _check_study(self, name: str, study: Study) -> None:
        if study.candidate not in self.candidates:
            raise ValueError(f"tuning.{name} names the candidate {study.candidate!r}, which is not under `candidates`")
        if study.candidate == name:
            raise ValueError(f"tuning.{name} would put its winner in the place of the candidate that it starts from")
        inputs = study.space.get("input")
        if inputs is not None and not set(inputs.samples) <= set(self.inputs):
            raise ValueError(f"tuning.{name}.space.input names an input that is not under `inputs`")
        try:
            for key, domain in study.space.items():
                for value in domain.samples:
                    self.candidates[study.candidate].changed({key: value})
        except ParamsError as exc:
            raise ValueError(f"tuning.{name}.space.{exc}") from exc

    def study(self, name: str) -> Study:
        """The study of that name.

        Raises:
            ParamsError: there is none; the message lists those there are.
        """
        try:
            return self.tuning[name]
        except KeyError:
            known = ", ".join(self.tuning) or "none"
            raise ParamsError(
                f"There is nothing to tune as {name!r} in params.yaml. Under `tuning`: {known}."
            ) from None

    def candidate(self, name: str) -> Candidate:
        """The candidate of that name.

        Raises:
            ParamsError: there is none; the message lists those there are.
        """
        try:
            return self.candidates[name]
        except KeyError:
            known = ", ".join(self.candidates)
            raise ParamsError(f"There is no candidate {name!r} in params.yaml. Known: {known}.") from None


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: absent, not YAML, or against the schema; each fault is named by its key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ParamsError(f"{path} is not there. Run the command in the project's folder.") from exc
    except yaml.YAMLError as exc:
        raise ParamsError(f"{path} is not YAML: {exc}") from exc
    try:
        return Params.model_validate(content)
    except ValidationError as exc:
        faults = "\n".join(f"  - {'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in exc.errors())
        raise ParamsError(f"{path} is wrong:\n{faults}") from exc
