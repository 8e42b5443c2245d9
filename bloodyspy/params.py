"""params.yaml as frozen, strict models: an unknown key is refused by name."""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from bloodyspy.errors import ParamsError

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
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


class Input(_Strict):
    size: int = Field(ge=32, le=512, description="side of the square input, pixels")


class Candidate(_Strict):
    network: str
    weights: str = Field(description="none, imagenet, or the path of a weights file")
    input: Name
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    seed: int = Field(ge=0)


class Floors(_Strict):
    accuracy: Fraction
    balanced_accuracy: Fraction
    sensitivity: Fraction = Field(description="of each class")


class Promotion(_Strict):
    metric: Literal["accuracy", "balanced_accuracy", "macro_f1"]
    minimum_gain: float = Field(ge=0, lt=1)
    floors: Floors


class Monitoring(_Strict):
    window: int = Field(ge=10)
    minimum_rows: int = Field(ge=10)
    false_alarm_rate: float = Field(gt=0, lt=0.5)


class Schedules(_Strict):
    check_drift: str
    train: str


class Params(_Strict):
    """The whole file. Candidate names are DVC stage names, so they are lower-case words."""

    synthetic: Synthetic
    validation: Validation
    split: Split
    inputs: dict[Name, Input]
    candidates: dict[Name, Candidate]
    promotion: Promotion
    monitoring: Monitoring
    schedules: Schedules

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        for name, candidate in self.candidates.items():
            if candidate.input not in self.inputs:
                raise ValueError(f"candidate {name} names the input {candidate.input!r}, which is not under `inputs`")
        if not self.candidates:
            raise ValueError("there is no candidate")
        if self.monitoring.minimum_rows > self.monitoring.window:
            raise ValueError("monitoring.minimum_rows is larger than monitoring.window: no check could ever be made")
        return self

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
